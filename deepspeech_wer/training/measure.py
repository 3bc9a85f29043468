"""python -m deepspeech_wer.training.measure MODEL TABLE.csv...: the error rates of a trained network on any table.

MODEL is an export (DIR/latest of ds_export_dir=DIR), or the checkpoint of a training: its directory or its file, such
as best.npz. Nothing is trained. Only a checkpoint needs TensorFlow. Each table gives one line; the rates are those that
test_wer and results.tests would be with the same decoder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import wer
from ..errors import Trouble
from ..files import write_atomically
from .outputs import until_reader_leaves
from .threads import limit_numpy

if TYPE_CHECKING:
    from .arrays import Floats
    from .corpus import Utterance
    from .text import Alphabet
    from .transcribe.transcriber import Options

OWN = "own"


class Listener(Protocol):
    """A trained network."""

    alphabet: Alphabet

    def is_spoken(self, samples: Floats) -> bool:
        """Return whether anybody speaks in [samples] at 16 kHz."""

    def logits(self, samples: Floats) -> Floats:
        """Return [frames, labels] logits of [samples] at 16 kHz."""

    def greedy(self, logits: Floats) -> str:
        """Return the text of the best label of each frame."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0; 1: a table or the model cannot be used; 2: wrong command line."""
    given = parser().parse_args(argv)
    limit_numpy(given.threads)
    try:
        listener, decode, decoder = _decoder(given)
        for table in given.tables:
            record, rows = measured(table, listener, decode, decoder, fold=given.fold, resample=given.resample)
            if given.utterances:
                _write(given.utterances / f"{table.stem}.json", rows)
            with until_reader_leaves():
                print(json.dumps(record, ensure_ascii=False) if given.json else _line(record), flush=True)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    summary, _, more = (__doc__ or "").partition("\n\n")
    made = argparse.ArgumentParser(
        "python -m deepspeech_wer.training.measure",
        description=more or summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("model", metavar="MODEL", type=Path)
    made.add_argument("tables", metavar="TABLE", nargs="+", type=Path)
    made.add_argument("--lm", metavar="LM", help="decode with this language model, ARPA or KenLM; own: the export's")
    made.add_argument("--alpha", metavar="X", type=float, help="its weight (as in MODEL, or 0.8)")
    made.add_argument("--beta", metavar="X", type=float, help="bonus per word (as in MODEL, or 0.5)")
    made.add_argument("--beam-width", metavar="N", type=int, help="texts in the beam (as in MODEL, or 100)")
    made.add_argument("--fold", action="store_true", help="fold the transcripts, as ds_text=fold does")
    made.add_argument("--resample", action="store_true", help="convert other rates and channels, as ds_resample=1 does")
    made.add_argument("--json", action="store_true", help="print JSON, as in results.tests")
    made.add_argument("--utterances", metavar="DIR", type=Path, help="write DIR/TABLE.json, as utterances.json")
    made.add_argument("--threads", metavar="N", type=int, default=1, help="processor threads (1)")
    return made


def _decoder(given: argparse.Namespace) -> tuple[Listener, Callable[[Floats], str], str]:
    """Return (network, decoder, its signature)."""
    from .corpus import file_sha256
    from .transcribe import transcriber
    from .transcribe.recogniser import DESCRIPTION, Recogniser

    model = given.model
    is_export = (model if model.is_dir() else model.parent).joinpath(DESCRIPTION).is_file() and model.suffix != ".npz"
    listener: Listener
    if is_export:
        listener = Recogniser(model, threads=given.threads)
    elif model.exists():
        listener = _checkpoint(model, given.threads)
    else:
        raise Trouble(f"{model}: does not exist: expected an export or a checkpoint")
    if given.lm is None:
        return listener, listener.greedy, "greedy"
    options: Options = transcriber.Options(
        model, language_model=given.lm, alpha=given.alpha, beta=given.beta, beam_width=given.beam_width
    )
    if isinstance(listener, Recogniser):
        search = transcriber.search(listener, options)
    else:
        search = transcriber.search_of(listener.alphabet, options)
    if search is None:
        return listener, listener.greedy, "greedy"
    path = model / "lm.arpa" if given.lm == OWN else Path(given.lm)
    mark = "" if given.lm == OWN else f"@{file_sha256(path)[:8]}"
    return listener, search.text, f"lm{search.model.order}{mark}-beam{search.width}"


def _checkpoint(place: Path, threads: int) -> Listener:
    """Return the network of a checkpoint. Raises Trouble."""
    from . import transfer
    from .threads import limit

    transfer.read(place)  # what is no checkpoint is told at once, without TensorFlow
    limit(threads)
    from .restored import Restored  # imports TensorFlow, whose threads are limited now

    return Restored(place)


def measured(
    table: Path,
    listener: Listener,
    decode: Callable[[Floats], str],
    decoder: str,
    *,
    fold: bool = False,
    resample: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the record of a table's rates, and that of its utterances. Raises Trouble, for unreadable audio, too.

    Letters that the network cannot write are told on stderr: each is an error.
    """
    from . import audio
    from .corpus import several
    from .importers.csv_table import read_table
    from .importers.tools.transcripts import FOLDED, folded

    utterances = read_table(table)
    if fold:
        utterances = tuple(replace(one, transcript=folded(one.transcript, listener.alphabet)) for one in utterances)
    _tell_outside(table, utterances, listener.alphabet)
    texts, seconds, faults = {}, {}, []
    for one in utterances:
        try:
            samples = audio.read_audio(one.audio, convert=resample)
        except Trouble as fault:
            faults.append(str(fault))
        if faults:
            continue  # only the other faults are of interest now
        texts[one.id] = decode(listener.logits(samples)) if listener.is_spoken(samples) else ""
        seconds[one.id] = len(samples) / audio.SAMPLE_RATE
    if faults:
        raise several(faults, f"{table}: {len(faults)} of {len(utterances)} recordings cannot be used")
    score = wer.score_corpus({one.id: one.transcript for one in utterances}, texts)
    words = score.words
    record: dict[str, Any] = {
        "table": table.name,
        "wer": score.wer,
        "cer": score.cer,
        "errors": {
            "substitutions": words.substitutions,
            "deletions": words.deletions,
            "insertions": words.insertions,
            "words": words.reference,
            "utterances": score.utterances,
        },
        "interval": _interval(utterances, texts),
        "signature": {
            "test_set_sha256": _set_sha256(utterances),
            "normaliser": FOLDED if fold else wer.NORMALISER,
            "decoder": decoder,
        },
    }
    columns = ["id", "speaker", "seconds", "reference", "hypothesis"]
    rows = [[one.id, one.speaker, round(seconds[one.id], 2), one.transcript, texts[one.id]] for one in utterances]
    return record, {"version": 1, "set": table.stem, "columns": columns, "rows": rows}


def _tell_outside(table: Path, utterances: Sequence[Utterance], alphabet: Alphabet) -> None:
    from .importers.tools.transcripts import folded

    odd = [one for one in utterances if alphabet.outside(one.transcript)]
    if odd:
        is_cured = not alphabet.outside(folded(odd[0].transcript, alphabet))
        print(
            f"in doubt: {table}: transcripts with letters that the network cannot write, each of which is an error: "
            f"{len(odd)}, the first {odd[0].transcript!r} ({odd[0].id}): expected only {alphabet.told}"
            f"{': --fold mends it' if is_cured else ''}",
            file=sys.stderr,
            flush=True,
        )


def _interval(utterances: Sequence[Utterance], texts: Mapping[str, str]) -> dict[str, Any] | None:
    from ..verdicts import intervals

    counts = [wer.score_utterance(one.transcript, texts[one.id]) for one in utterances]
    errors, words = [one.errors for one in counts], [one.reference for one in counts]
    if not sum(words):
        return None
    clusters, by = intervals.clusters_of([one.speaker for one in utterances])
    found = intervals.around(sum(errors) / sum(words), intervals.standard_error(errors, words, clusters), by)
    return found._asdict() if found else None


def _set_sha256(utterances: Sequence[Utterance]) -> str:
    """Return what a training records of the same set."""
    from .corpus import file_sha256, identity

    return identity((one, file_sha256(one.audio)) for one in utterances)


def _line(record: Mapping[str, Any]) -> str:
    errors, interval, signature = record["errors"], record["interval"], record["signature"]
    between = f" ({interval['low']:.2%} to {interval['high']:.2%})" if interval else ""
    rate = "no words" if record["wer"] is None else f"WER {record['wer']:.2%}{between}, CER {record['cer']:.2%}"
    return (
        f"{record['table']}: {rate}; {errors['substitutions']} substitutions, {errors['deletions']} deletions, "
        f"{errors['insertions']} insertions of {errors['words']} words in {errors['utterances']} utterances; "
        f"{signature['decoder']}; test set {signature['test_set_sha256'][:8]}"
    )


def _write(path: Path, record: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, f"{json.dumps(record, ensure_ascii=False)}\n".encode(errors="replace"))
    except OSError as error:
        raise Trouble(f"{path}: cannot be written: {error.strerror}: free space, or another --utterances") from error


if __name__ == "__main__":
    sys.exit(main())
