"""Writes the results of a training, the job's side of the contract: utterances.json, history.json and hyper.json."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import clock, wer
from ..errors import Trouble
from ..files import write_atomically
from ..job_contract import CHECKPOINT_DIR, HISTORY, HYPER, LOGS_DIR, UTTERANCES
from ..verdicts import intervals
from . import source
from .batches import Most, batches_by_length
from .confidence import Calibrations
from .corpus import Corpus
from .dataset import Item, set_sha256
from .epochs import Epoch
from .evaluate import TEST, Evaluation, Hypothesis, score_hypotheses
from .export import TFLITE
from .importers.tools.transcripts import FOLDED
from .network import devices
from .network.model import Network
from .parameters import FOLD, N_CONTEXT, N_INPUT, Parameters
from .patience import tested_epoch
from .sound import noises
from .workers import ALONE, Workers

VERSION = 1
LIBRARIES = ("tensorflow", "keras", "numpy", "soundfile", "kaldialign", "ai-edge-litert")
# data_set.name and context.git_hash hold the first two; the others are private.
NOT_RECORDED = ("importer", "wer_sha", "wer_rerun_of", "cache_dir", "mirror_url")
Sets = Mapping[str, Sequence[Item]]  # train, dev, test and further ones, without the utterances left out


def new_run_directory(parameters: Parameters, workers: Workers = ALONE) -> Path:
    """Make and return `<logs_dir>/<time>-<commit>/`, the directory for all files of this training.

    Of several workers only the chief makes one. Called before the training: raises Trouble if this or another directory
    of the training cannot be written.
    """
    if not workers.is_chief:
        return parameters.logs_dir
    if parameters.kept_in is not None:
        name = CHECKPOINT_DIR if parameters.save_checkpoint_dir is None else "ds_save_checkpoint_dir"
        _require_writable(parameters.kept_in, name)
    if parameters.export_dir is not None:
        _require_writable(parameters.export_dir, "ds_export_dir")
    directory = parameters.logs_dir / f"{clock.stamp(clock.COMPACT)}-{git_hash(parameters)[:12]}"
    _require_writable(directory, LOGS_DIR)
    return directory


def _require_writable(directory: Path, variable: str) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as stream:
            stream.write(b"?" * 4096)
    except OSError as error:
        raise Trouble(f"{directory}: cannot be written: {error.strerror}: free space, or change {variable}") from error


def now() -> str:
    """Return the time in UTC as the records of 2016 have it: with microseconds, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Finished:
    """All that a finished training is reported from."""

    started: str  # as `now` writes it
    parameters: Parameters
    corpus: Corpus
    sets: Sets
    network: Network
    history: Sequence[Epoch]
    test: Evaluation
    tests: Mapping[str, Sequence[Hypothesis]] = field(default_factory=dict)  # test sets measured by themselves
    calibrations: Calibrations = field(default_factory=Calibrations)  # of the export
    exported: Mapping[str, int] = field(default_factory=dict)  # sizes in bytes, from `export`; empty: no export yet


def write(directory: Path, training: Finished) -> Path:
    """Write the three files and return the path of hyper.json, which is written last: its presence says they are whole.

    Nothing is printed before that: the training must not be lost to an output that cannot be written. Raises Trouble
    where a file cannot be written.
    """
    _write_json(directory / UTTERANCES, utterances_record(training.test, training.parameters.test_set or TEST))
    _write_json(directory / HISTORY, {"version": VERSION, "epochs": [asdict(epoch) for epoch in training.history]})
    _write_json(directory / HYPER, hyper_record(training))
    print(f"wrote {directory / HYPER}", file=sys.stderr, flush=True)
    return directory / HYPER


def add_export(directory: Path, training: Finished) -> None:
    """Write hyper.json again, with the sizes of what has been exported since. Raises Trouble."""
    _write_json(directory / HYPER, hyper_record(training))


def hyper_record(training: Finished) -> dict[str, Any]:
    return {
        "context": context_record(training),
        "parameters": parameters_record(training.parameters, training.sets) | decided_settings(training.test),
        "results": results_record(training),
    }


def context_record(training: Finished) -> dict[str, Any]:
    parameters = training.parameters
    return {
        "time_started": training.started,
        "time_finished": now(),
        "git_hash": git_hash(parameters),
        "git_branch": git_branch(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "machine": {
            "processor": processor(),
            "processors": os.cpu_count(),
            "threads": parameters.threads,
            **({"workers": count} if (count := training.network.workers.count) > 1 else {}),
            "system": platform.platform(),
        },
        "data": data_record(training.corpus, training.sets),
    }


def data_record(corpus: Corpus, sets: Sets) -> dict[str, Any]:
    """Return the identity and the size of each data set."""
    return {
        name: {
            "sha256": set_sha256(items),
            "utterances": len(items),
            "left_out": corpus.left_out.get(name, 0) + len(corpus.sets()[name]) - len(items),
            "seconds": round(sum(item.seconds for item in items), 2),
        }
        for name, items in sets.items()
    }


def parameters_record(parameters: Parameters, sets: Sets) -> dict[str, Any]:
    """Return every parameter under its name of 2016, and the sizes that the notebook recorded with them.

    The record is published, so a path is shortened to its last component, `.../NAME`. By the slash the page recognises
    a path, which it ignores when it compares runs.
    """
    record = asdict(parameters) | {"alphabet": parameters.alphabet.name}
    if (noise := noises.collect(parameters).identity) is not None:
        record["augment_overlay_sha256"] = noise
    for name in NOT_RECORDED:
        del record[name]
    for name, value in record.items():
        if isinstance(value, Path):
            record[name] = f".../{value.name}"
    batch_sizes = {
        "train": ("train", parameters.train_batch_size),
        "validation": ("dev", parameters.dev_batch_size),
        "test": ("test", parameters.test_batch_size),
    }
    batches = {
        f"total_batches_{name}": len(batches_by_length(sets[one], Most(size, parameters.max_seconds)))
        for name, (one, size) in batch_sizes.items()
    }
    network = {"n_input": N_INPUT, "n_context": N_CONTEXT, "n_hidden_6": parameters.n_hidden_6}
    more = {"n_character": parameters.n_character, "data_set": {"name": parameters.importer}}
    return {**record, **batches, **network, **more}


def decided_settings(test: Evaluation) -> dict[str, object]:
    """Return what the parameters left open and the run decided: the language model and its weights."""
    return {name: value for one in test.decoded for name, value in one.decoder.settings.items()}


def results_record(training: Finished) -> dict[str, Any]:
    history, test = training.history, training.test
    score, parameter_count = test.score, training.network.parameter_count()
    hours = sum(epoch.seconds for epoch in history) / 3600
    return {
        "duration": round(sum(epoch.seconds for epoch in history), 3),
        "last_train_wer": _last([epoch.train_wer for epoch in history]),
        "last_validation_wer": _last([epoch.validation_wer for epoch in history]),
        "test_wer": score.wer,
        "test_cer": score.cer,
        "test_loss": test.loss,
        "test_errors": _errors_record(score),
        "mean_utterance_wer": score.mean_utterance_wer,
        "real_time_factor": round(test.real_time_factor, 6),
        "cpu_seconds": round(sum(epoch.cpu_seconds for epoch in history), 3),
        "run_cpu_hours": round(time.process_time() / 3600, 5),
        **({"gpu_hours": round(hours * gpus, 5)} if (gpus := devices.gpu_count(training.network.strategy)) else {}),
        "tested_epoch": tested_epoch(history, training.parameters),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "parameters_count": parameter_count,
        "model_bytes": training.exported.get(TFLITE) or 4 * parameter_count,
        "signature": _signature(training, test.hypotheses) | _named_test_set(training),
        **({"tests": _tests_record(training)} if training.tests else {}),
        **({"calibration": _calibrations_record(training)} if training.calibrations.decoders else {}),
        "decoders": {
            one.decoder.name: {
                "wer": one.score.wer,
                "cer": one.score.cer,
                "cpu_seconds": round(one.cpu_seconds, 3),
                "signature": one.decoder.signature,
            }
            for one in test.decoded
        },
    }


def _calibrations_record(training: Finished) -> dict[str, Any]:
    """Return the expected calibration error of the words' confidences on the test set, by decoder."""
    return {
        name: {"error": one.error, "test_words": one.test_words, "validation_words": one.validation_words}
        for name, one in training.calibrations.decoders.items()
    }


def _named_test_set(training: Finished) -> dict[str, str]:
    """Return what `test_wer` is of, where the corpus has several test sets: one of them, or which ones together."""
    name = training.parameters.test_set
    parts = sorted({part for one in training.test.hypotheses if (part := one.item.utterance.part) is not None})
    if not name and len(parts) < 2:
        return {}
    return {"test_set": name or "+".join(parts)}


def _tests_record(training: Finished) -> dict[str, Any]:
    return {name: _test_record(training, hypotheses) for name, hypotheses in training.tests.items()}


def _test_record(training: Finished, hypotheses: Sequence[Hypothesis]) -> dict[str, Any]:
    """Return the figures of a test set that is measured by itself, in the shape that the tracker reads."""
    score = score_hypotheses(hypotheses)
    interval = _interval(hypotheses) if score.wer is not None else None
    return {
        "wer": score.wer,
        "cer": score.cer,
        "errors": _errors_record(score),
        "interval": interval and interval._asdict(),
        "signature": _signature(training, hypotheses),
    }


def _errors_record(score: wer.Score) -> dict[str, int]:
    return {
        "substitutions": score.words.substitutions,
        "deletions": score.words.deletions,
        "insertions": score.words.insertions,
        "words": score.words.reference,
        "utterances": score.utterances,
        "missing": score.missing,
    }


def _interval(hypotheses: Sequence[Hypothesis]) -> intervals.Interval | None:
    """Return the interval of a WER; None of a single utterance."""
    counts = [one.counts for one in hypotheses]
    errors, words = [one.errors for one in counts], [one.reference for one in counts]
    clusters, by = intervals.clusters_of([one.item.utterance.speaker for one in hypotheses])
    return intervals.around(sum(errors) / sum(words), intervals.standard_error(errors, words, clusters), by)


def _signature(training: Finished, hypotheses: Sequence[Hypothesis]) -> dict[str, str]:
    return {
        "test_set_sha256": set_sha256([one.item for one in hypotheses]),
        "normaliser": FOLDED if training.parameters.text == FOLD else wer.NORMALISER,
        "decoder": training.test.decoder.signature,
    }


def processor() -> str:
    """Return the processor's name as Linux reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def utterances_record(test: Evaluation, name: str = TEST) -> dict[str, Any]:
    rows = []
    for one in test.hypotheses:
        said = one.item.utterance
        rows.append([said.id, said.speaker, round(one.item.seconds, 2), said.transcript, one.text])
    columns = ["id", "speaker", "seconds", "reference", "hypothesis"]
    return {"version": VERSION, "set": name, "columns": columns, "rows": rows}


def git_hash(parameters: Parameters) -> str:
    """Return the commit that is trained: from the tracker, else from git, else "unknown"."""
    return parameters.wer_sha or source.ask_git("rev-parse", "HEAD")


def git_branch() -> str:
    return source.ask_git("rev-parse", "--abbrev-ref", "HEAD")


def _last(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return measured[-1] if measured else None


def _write_json(path: Path, record: dict[str, Any]) -> None:
    text = json.dumps(record, sort_keys=True, indent=4, allow_nan=False, ensure_ascii=False, default=str)
    try:
        write_atomically(path, f"{text}\n".encode(errors="replace"))  # a directory's name need not be valid text
    except OSError as error:
        raise Trouble(f"{path}: cannot be written: {error.strerror}: free space, or change {LOGS_DIR}") from error
