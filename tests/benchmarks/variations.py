"""Measures what each variation of the sound gains on AN4, and what it costs.

    .venv/bin/python -m tests.benchmarks.variations --make-noise DIR        writes DIR/train/*.wav for the trainings
    ds_augment_overlay=.5 ds_augment_overlay_source=DIR/train ds_export_dir=EXPORTS ./bin/run-an4.sh
    .venv/bin/python -m tests.benchmarks.variations --export EXPORTS/latest [--dataset DIR]
    .venv/bin/python -m tests.benchmarks.variations --cost --noise DIR/train [--dataset DIR]

The forms of the test set that an export hears:

- clean: as it is
- noise: at a ratio of 10 dB, in turn voices of the validation set's speakers and noise of 1/f and of 1/f^1.5
- 8 kHz: resampled to 8 kHz and back, by another filter than that of the variation
- room: an echo that fades by 60 dB in 0.4 s: decaying white noise (Polack 1988), not the variation's combs

The noise for trainings is other noise: voices of the training set's speakers, white noise, 1/f^2, and hum. Prints WER
with greedy decoding and with the export's language model; with --cost, CPU-milliseconds per utterance.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy is imported

import numpy as np
import soundfile

from deepspeech_wer import wer
from deepspeech_wer.training import audio, batches, dataset
from deepspeech_wer.training.acoustics import Acoustics
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.importers.csv_table import read_table
from deepspeech_wer.training.parameters import from_environment
from deepspeech_wer.training.sound import effects, noises
from deepspeech_wer.training.text import Alphabet
from deepspeech_wer.training.transcribe import transcriber
from deepspeech_wer.training.transcribe.recogniser import Recogniser

AN4 = Path(__file__).resolve().parents[3] / "shared" / "speech" / "an4"
SECONDS = 20  # of each noise
SNR = 10.0  # dB
VARIATIONS = {
    "noise, one layer": {"overlay": "1"},
    "room": {"reverb": "1"},
    "volume": {"volume": "1"},
    "8 kHz": {"resample": "1"},
    "telephone": {"codec": "1"},
    "all five": {"overlay": "1", "reverb": "1", "volume": "1", "resample": "1", "codec": "1"},
}


def main() -> int:
    """Do what the options ask for."""
    given = _options()
    if given.make_noise:
        _make(given.make_noise / "train", given.dataset / "train.csv", (0.0, 2.0), hum=True)
    if given.export:
        _hear(given.export, given.dataset)
    if given.cost:
        _cost(given.dataset, given.noise)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--dataset", type=Path, default=AN4)
    parser.add_argument("--make-noise", type=Path)
    parser.add_argument("--export", type=Path)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--noise", type=Path, help="for --cost")
    return parser.parse_args()


def _make(place: Path, voices: Path, slopes: Sequence[float], *, hum: bool = False) -> list[Floats]:
    """Write noise of 20 s each: four times six voices at a time, coloured noise, and a hum perhaps."""
    rng = np.random.default_rng(1)
    made = [_babble(voices, rng) for _ in range(4)] + [_coloured(slope, rng) for slope in slopes]
    if hum:
        at = np.arange(SECONDS * audio.SAMPLE_RATE) / audio.SAMPLE_RATE
        made.append(sum(np.sin(2 * np.pi * 50 * n * at) / n for n in range(1, 20)).astype(np.float32))  # type: ignore[union-attr]
    place.mkdir(parents=True, exist_ok=True)
    for number, samples in enumerate(made):
        soundfile.write(place / f"{number}.wav", effects.at_volume(samples, -10).astype(np.int16), audio.SAMPLE_RATE)
    return made


def _babble(table: Path, rng: np.random.Generator) -> Floats:
    with table.open(newline="") as stream:
        paths = [table.parent / row["wav_filename"] for row in csv.DictReader(stream)]
    layers = np.zeros(SECONDS * audio.SAMPLE_RATE, np.float32)
    for _ in range(6):
        parts: list[Floats] = []
        while sum(map(len, parts)) < len(layers):
            said = audio.without_offset(audio.read_audio(paths[rng.integers(len(paths))]))
            parts.append(said / np.float32(np.sqrt(effects.power(said))))
        layers += np.concatenate(parts)[: len(layers)]
    return layers


def _coloured(slope: float, rng: np.random.Generator) -> Floats:
    """Return noise whose power falls with the frequency to the power of `slope`."""
    spectrum = np.fft.rfft(rng.standard_normal(SECONDS * audio.SAMPLE_RATE))
    hertz = np.maximum(np.fft.rfftfreq(SECONDS * audio.SAMPLE_RATE, 1 / audio.SAMPLE_RATE), 50)
    noise: Floats = np.fft.irfft(spectrum * hertz ** (-slope / 2)).astype(np.float32)
    return noise


def _hear(export: Path, directory: Path) -> None:
    recogniser = Recogniser(export)
    options = transcriber.Options(export, language_model="own")
    search = transcriber.search(recogniser, options)
    assert search is not None
    said = read_table(directory / "test.csv")
    clean = [audio.read_audio(one.audio) for one in said]
    texts = {one.id: one.transcript for one in said}
    for form, recordings in _forms(clean, directory):
        rates = []
        for finish in (recogniser.greedy, search.text):
            found = {one.id: recogniser.text(samples, finish) for one, samples in zip(said, recordings, strict=True)}
            rates.append(wer.score_corpus(texts, found).wer or 0.0)
        print(f"{form:6} greedy {rates[0]:7.2%}, language model {rates[1]:7.2%}", flush=True)


def _forms(clean: Sequence[Floats], directory: Path) -> Iterator[tuple[str, list[Floats]]]:
    from scipy import signal

    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as place:
        noise = _make(Path(place), directory / "dev.csv", (1.0, 1.0, 1.5, 1.5))

    def noisy(number: int, one: Floats) -> Floats:
        source = noise[number % len(noise)]
        start = int(rng.integers(len(source) - len(one)))
        return effects.overlay(one, source[start : start + len(one)], SNR)

    fading = np.arange(audio.SAMPLE_RATE // 2) / (0.4 * audio.SAMPLE_RATE)
    room = rng.standard_normal(len(fading)) * 10 ** (-3 * fading)
    room[0] = np.sqrt((room[1:] ** 2).sum())  # as much direct sound as echo
    yield "clean", list(clean)
    yield "noise", [noisy(number, audio.without_offset(one)) for number, one in enumerate(clean)]
    yield "8 kHz", [signal.resample_poly(np.round(signal.resample_poly(one, 1, 2)), 2, 1) for one in clean]
    yield "room", [signal.fftconvolve(one, room)[: len(one)].astype(np.float32) for one in clean]


def _cost(directory: Path, noise: Path | None) -> None:
    with tempfile.TemporaryDirectory() as place:
        own = {"ds_cache_dir": place, "ds_importer": "csv", "ds_dataset_path": str(directory)}
        items = dataset.prepare(read_table(directory / "train.csv"), Alphabet(), Path(place))
        plain = from_environment(own)
        before = _milliseconds(lambda group: batches.assemble(group, plain), items)
        print(f"{'from the cache':18} {before:6.2f} ms an utterance of {_mean_seconds(items):.1f} s", flush=True)
        for name, shares in VARIATIONS.items():
            if "overlay" in shares and noise is None:
                continue
            variables = {f"ds_augment_{key}": value for key, value in shares.items()}
            varied = from_environment({**own, **variables, "ds_augment_overlay_source": str(noise or "")})
            acoustics = Acoustics(varied, noises.collect(varied), 0)
            spent = _milliseconds(partial(batches.assemble, parameters=plain, acoustics=acoustics), items)
            print(f"{name:18} {spent:6.2f} ms", flush=True)


def _mean_seconds(items: Sequence[dataset.Item]) -> float:
    return sum(item.seconds for item in items) / len(items)


def _milliseconds(make: Callable[[Sequence[dataset.Item]], object], items: Sequence[dataset.Item]) -> float:
    started = time.process_time()
    for start in range(0, len(items), 16):
        make(items[start : start + 16])
    return 1000 * (time.process_time() - started) / len(items)


if __name__ == "__main__":
    sys.exit(main())
