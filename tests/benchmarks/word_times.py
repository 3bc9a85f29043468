"""Measures the times, the confidences and the hot words of `transcribe`.

    .venv/bin/python tests/benchmarks/word_times.py EXPORT [--dataset DIR] [--aligner PYTHON] [--synthetic] [--seeds N]

EXPORT is that of a run on DIR (AN4). Its test set is decoded greedily and with the export's language model:

- the times of the words that are right, against the alignment of the transcript by the same network: those of their
  letters alone, and those that are told, which the quiet between words moves;
- the expected calibration error of the confidences, beside what perfect ones have on so few words;
- the recall of letters' names and of a list of names, hot or not, and the error rate of the rest.

With --aligner, an interpreter that has pocketsphinx 5, the times of the transcript's words are also compared with those
of its hidden Markov models, which have no part in the export.

With --synthetic a small network is trained on words spoken one by one by eSpeak NG (extra `[demo]`) and joined, whose
times are known: N networks with seeds of their own, 40 CPU-seconds each.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}  # before numpy

import numpy as np
import soundfile
from numpy.typing import NDArray

from deepspeech_wer import wer
from deepspeech_wer.training import alignment, audio, confidence, spans
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.spans import Frames
from deepspeech_wer.training.transcribe import details, transcriber
from deepspeech_wer.training.transcribe.recogniser import Recogniser

AN4 = Path(__file__).resolve().parents[3] / "shared" / "speech" / "an4"
NEAR = 0.06  # seconds
FIRST_SEED = 4567
BOOSTS = (2.0, 4.0)


@dataclass(frozen=True)
class Heard:
    """An utterance of the test set."""

    samples: Floats
    logits: Floats
    frames: Frames
    transcript: str


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("export", type=Path, nargs="?")
    parser.add_argument("--dataset", type=Path, default=AN4)
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--seeds", type=int, default=1, help="of the synthetic words' networks (1)")
    parser.add_argument("--aligner", type=Path, help="an interpreter that has pocketsphinx")
    given = parser.parse_args()
    if given.export:
        of_corpus(given.export, given.dataset)
        if given.aligner:
            beside_aligner(given.export, given.dataset, given.aligner)
    if given.synthetic:
        with tempfile.TemporaryDirectory() as place:
            truth = _speak(Path(place) / "words", {"train": 800, "dev": 60, "test": 120})
            for seed in range(FIRST_SEED, FIRST_SEED + given.seeds):
                of_synthetic_speech(Path(place), truth, seed)
    return 0


def of_corpus(export: Path, dataset: Path) -> None:
    """Print times, confidences and hot words on the test set of a corpus."""
    recogniser = Recogniser(export)
    search = transcriber.search(recogniser, transcriber.Options(export, language_model="own"))
    heard = list(_heard(recogniser, dataset / "test.csv"))
    decoders: dict[str, Callable[[Floats], str]] = {"greedy": recogniser.greedy}
    if search is not None:
        decoders["lm"] = search.text
    for name, decode in decoders.items():
        texts = [decode(one.logits) for one in heard]
        for what, place in (("letters alone", _of_letters), ("as told", _as_told)):
            pairs = zip(heard, texts, strict=True)
            off = np.array([gap for one, text in pairs for gap in _gaps(recogniser, one, text, place)])
            print(f"{name}, {what}: {len(off)} right words; {_shares(off)}")
        judged = confidence.judged(
            ((one.logits, text, one.transcript) for one, text in zip(heard, texts, strict=True)), recogniser.alphabet
        )
        calibration = recogniser.description.calibrations.decoders.get(name)
        if calibration is None:
            print(f"{name}: the export has no calibration")
            continue
        chances = np.array([calibration.of(word) for word, _ in judged])
        rng = np.random.default_rng(0)
        floor = np.mean([confidence.calibration_error(chances, rng.random(len(chances)) < chances) for _ in range(200)])
        error = confidence.measured(calibration, judged).error or 0.0
        print(f"{name}: expected calibration error {error:.3f} of {len(judged)} words; of perfect ones {floor:.3f}")
    _hot(recogniser, export, heard)


def _heard(recogniser: Recogniser, table: Path) -> Iterator[Heard]:
    with table.open(newline="") as stream:
        for row in csv.DictReader(stream):
            samples = audio.read_audio(table.parent / row["wav_filename"])
            heard = recogniser.hear(samples)
            yield Heard(samples, heard.logits, heard.frames, row["transcript"])


Timed = tuple[str, float, float]  # a word, its begin and its end
Placing = Callable[[Recogniser, Heard, str], list[Timed]]


def _of_letters(recogniser: Recogniser, one: Heard, text: str) -> list[Timed]:
    found = alignment.words(one.logits, text, recogniser.alphabet)
    return [(word.word, word.begin * spans.FRAME, word.end * spans.FRAME) for word in found]


def _as_told(recogniser: Recogniser, one: Heard, text: str) -> list[Timed]:
    found = alignment.words(one.logits, text, recogniser.alphabet)
    told = spans.of_words(found, one.frames, recogniser.description.calibrations.edges)
    return [(word.word, max(0.0, begin), end) for word, (begin, end) in zip(found, told, strict=True)]


def _gaps(recogniser: Recogniser, one: Heard, text: str, place: Placing) -> list[tuple[float, float]]:
    """Return how far begin and end of each right word are from those of the forced alignment, in seconds."""
    return _between(place(recogniser, one, one.transcript), place(recogniser, one, text))


def _between(known: Sequence[Timed], found: Sequence[Timed]) -> list[tuple[float, float]]:
    """Return (begin, end) of each right word, minus the known ones."""
    pairs = wer.align([word for word, _, _ in known], [word for word, _, _ in found]).pairs
    left, right, gaps = iter(known), iter(found), []
    for reference, hypothesis in pairs:
        said = next(left) if reference is not None else None
        heard = next(right) if hypothesis is not None else None
        if said and heard and reference == hypothesis:
            gaps.append((heard[1] - said[1], heard[2] - said[2]))
    return gaps


def _shares(off: Sequence[tuple[float, float]] | np.ndarray) -> str:
    begin, end = (np.abs(np.array(off)) <= NEAR + 1e-9).mean(0)
    return f"begin and end within 60 ms: {begin:.1%}, {end:.1%}"


def beside_aligner(export: Path, dataset: Path, aligner: Path) -> None:
    """Print how far the times of the transcripts' words are from those of pocketsphinx."""
    recogniser = Recogniser(export)
    heard = list(_heard(recogniser, dataset / "test.csv"))
    script = Path(__file__).with_name("aligner_pocketsphinx.py")
    with tempfile.TemporaryDirectory() as place:
        listed, result = Path(place) / "list", Path(place) / "result.json"
        names = {str(Path(place) / f"{number}.raw"): one for number, one in enumerate(heard)}
        for name, one in names.items():
            Path(name).write_bytes(one.samples.astype("<i2").tobytes())
        listed.write_text("".join(f"{name}\t{one.transcript}\n" for name, one in names.items()))
        subprocess.run([str(aligner), str(script), str(listed), str(result)], check=True, timeout=1800)
        known = json.loads(result.read_text())
    ways: dict[str, Placing] = {"by the network alone": _by_network, "as told": _as_told}
    for what, way in ways.items():
        off = [
            gap
            for name, times in known.items()
            for gap in _between(
                [(word, begin, end) for word, begin, end in times],
                way(recogniser, names[name], names[name].transcript),
            )
        ]
        print(f"beside pocketsphinx, {what}: {len(off)} words of {len(known)} recordings; {_shares(off)}", flush=True)


def _by_network(recogniser: Recogniser, one: Heard, text: str) -> list[Timed]:
    loud = replace(one, frames=replace(one.frames, energies=np.zeros_like(one.frames.energies)))  # no quiet anywhere
    return _as_told(recogniser, loud, text)


def _hot(recogniser: Recogniser, export: Path, heard: Sequence[Heard]) -> None:
    """Print the recall of names, hot or not: long words that are in one or two transcripts, as names are."""
    counts = Counter(word for one in heard for word in set(one.transcript.split()) if len(word) > 4)
    names = sorted(word for word, count in counts.items() if count <= 2)
    for language_model in (None, "own"):
        for boost in (0.0, *BOOSTS):
            hot = dict.fromkeys(names, boost) if boost else {}
            options = transcriber.Options(export, language_model=language_model, hot_words=hot)
            search = transcriber.search(recogniser, options) or transcriber.free_search(recogniser, options)
            recall, elsewhere, rate = _rates([(one.transcript, search.text(one.logits)) for one in heard], set(names))
            print(
                f"{language_model or 'no'} language model, {len(names)} names hot by {boost:g}: recall {recall:.1%}, "
                f"errors on other words {elsewhere:.2%}, WER {rate:.2%}",
                flush=True,
            )


def _rates(texts: Sequence[tuple[str, str]], names: set[str]) -> tuple[float, float, float]:
    """Return (recall of the names, errors per other word, WER); an inserted name is an error on other words."""
    right = said = errors = others = wrong = 0
    for transcript, text in texts:
        for reference, hypothesis in wer.align(wer.words(transcript), wer.words(text)).pairs:
            is_error = reference != hypothesis
            wrong += is_error
            if reference in names:
                said, right = said + 1, right + (not is_error)
            else:
                others, errors = others + (reference is not None), errors + is_error
    return right / said, errors / others, wrong / (said + others)


# Speech whose times are known


def of_synthetic_speech(place: Path, truth: Mapping[str, Sequence[Timed]], seed: int) -> None:
    """Train a small network on the joined words of `place`, and print how far its times are from the true ones."""
    from deepspeech_wer.training import dataset, decoding, export, importers, train
    from deepspeech_wer.training.network.model import Network
    from deepspeech_wer.training.parameters import from_environment

    parameters = from_environment(
        {
            "ds_importer": "csv",
            "ds_dataset_path": str(place / "words"),
            "ds_cache_dir": str(place / "cache"),
            "ds_export_dir": str(place / "exports"),
            "ds_n_hidden": "64",
            "ds_epochs": "14",
            "ds_display_step": "0",
            "ds_learning_rate": "0.003",
            "ds_random_seed": str(seed),
        }
    )
    sets = dataset.prepare_corpus(importers.load(parameters), parameters)
    network = Network(parameters)
    train.train(network, sets["train"], sets["dev"], parameters, place)
    decoders = decoding.prepare_decoders(parameters, None, network, sets["dev"])
    calibrations = decoding.calibrate(network, sets, parameters, decoders)
    export.export(network, sets["test"], parameters, f"{seed:07}", decoders, calibrations)
    recogniser = Recogniser(place / "exports" / "latest")
    _tell_of_network(recogniser, place / "words", truth, seed)
    told = details.Details(recogniser, details.Wanted())
    off: list[tuple[float, float]] = []
    words = 0
    for name, known in truth.items():
        samples = audio.read_audio(place / "words" / name)
        _, results = transcriber.recognise_blocks(iter([samples]), recogniser, recogniser.greedy)
        found = told.of(results[0])["words"]
        words += len(known)
        off += _between(known, [(one["word"], one["begin"], one["end"]) for one in found])
    gaps = np.array(off)
    bias = np.median(gaps, 0)
    print(
        f"synthetic, seed {seed}, as told: {len(gaps)} of {words} words right; {_shares(gaps)}; "
        f"medians {1000 * bias[0]:+.0f}, {1000 * bias[1]:+.0f} ms; "
        f"95 % within {1000 * np.percentile(np.abs(gaps[:, 0]), 95):.0f}, "
        f"{1000 * np.percentile(np.abs(gaps[:, 1]), 95):.0f} ms"
    )


def _tell_of_network(recogniser: Recogniser, words: Path, truth: Mapping[str, Sequence[Timed]], seed: int) -> None:
    off = []
    for name, known in truth.items():
        samples = audio.read_audio(words / name)
        heard = recogniser.hear(samples)
        one = Heard(samples, heard.logits, heard.frames, " ".join(word for word, _, _ in known))
        off += _between(known, _by_network(recogniser, one, recogniser.greedy(heard.logits)))
    print(f"synthetic, seed {seed}, by the network alone: {_shares(off)}")


def _speak(place: Path, counts: dict[str, int]) -> dict[str, list[tuple[str, float, float]]]:
    """Write a corpus of joined words; return (word, begin, end) of those of each test file."""
    from deepspeech_wer.training.importers.synthetic import VOICES, WORDS
    from deepspeech_wer.training.importers.tools.espeak import Engine

    engine, rng = Engine(), np.random.default_rng(1)
    spoken = {
        (word, voice): _trimmed(audio.resample(engine.speak(word, voice, 170, 50), engine.rate))
        for word in WORDS
        for voice in VOICES
    }
    truth = {}
    for name, count in counts.items():
        (place / name).mkdir(parents=True)
        lines = ["wav_filename,wav_filesize,transcript"]
        for number in range(count):
            voice, words = VOICES[number % len(VOICES)], rng.choice(WORDS, rng.integers(2, 5))
            parts: list[NDArray[Any]] = [np.zeros(3200)]
            spans, at = [], 3200
            for word in words:
                samples, gap = spoken[str(word), voice], int(rng.uniform(0.02, 0.2) * audio.SAMPLE_RATE)
                spans.append((str(word), at / audio.SAMPLE_RATE, (at + len(samples)) / audio.SAMPLE_RATE))
                parts += [samples, np.zeros(gap)]
                at += len(samples) + gap
            speech = np.concatenate([*parts, np.zeros(3200)])
            file = f"{name}/{number}.wav"
            noisy = (speech + rng.normal(0, 8, len(speech))).clip(-32768, 32767).astype(np.int16)
            soundfile.write(place / file, noisy, audio.SAMPLE_RATE)
            lines.append(f"{file},1,{' '.join(words)}")
            if name == "test":
                truth[file] = spans
        (place / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return truth


def _trimmed(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return a word without the silence around it: what is 40 dB below its peak."""
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() / 100)
    return samples[loud[0] : loud[-1] + 1]


if __name__ == "__main__":
    sys.exit(main())
