"""Compares an export with pocketsphinx 5 on the same recordings, with the same language model.

    .venv/bin/python -m tests.benchmarks.peers EXPORT [--dataset DIR] [--every N] [--peer PYTHON]

EXPORT is that of a run of `bin/run-an4.sh`, with its language model. The forms of the test set:

- clean: as it is
- offset: with a constant of a tenth of full scale added
- background: with a second of the recording's own background before and after
- joined: utterances joined to 38 s at most, with pauses of 2.5 s of that background
- 8 kHz: resampled to 8 kHz and back

PYTHON is an interpreter that has pocketsphinx; without it, one is made below a temporary directory, with pip. Prints
WER, real-time factor (CPU-seconds per second) and peak memory. One thread each.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy is imported

import numpy as np

from deepspeech_wer import wer
from deepspeech_wer.training import audio
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.transcribe import transcriber
from deepspeech_wer.training.transcribe.recogniser import LANGUAGE_MODEL, Recogniser

ROOT = Path(__file__).resolve().parents[2]
AN4 = ROOT.parent / "shared" / "speech" / "an4"
OFFSET = 3277  # a tenth of full scale
PAUSE, LONGEST = 2.5, 38.0  # seconds
PEER = "pocketsphinx>=5,<6"


@dataclass(frozen=True)
class Recording:
    """One recording of a form."""

    samples: Floats
    transcript: str


def main() -> int:
    """Print the table."""
    given = _options()
    with tempfile.TemporaryDirectory() as place:
        if given.engine:
            return _own(given.export, given.engine, given.listed, given.result)
        recordings = list(read(given.dataset / "test.csv", given.every))
        peer = given.peer or _install(Path(place))
        print(f"{'form':11} {'engine':24} {'WER':>7} {'RTF':>7} {'MB':>5}   {len(recordings)} utterances", flush=True)
        for form, those in _forms(recordings).items():
            listed = _write(Path(place) / form.replace(" ", ""), those)
            for name, command in _engines(given.export, peer).items():
                print(_line(form, name, those, _run(command, listed), listed), flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("export", type=Path)
    parser.add_argument("--dataset", type=Path, default=AN4)
    parser.add_argument("--every", type=int, default=1, help="take every Nth utterance only")
    parser.add_argument("--peer", type=Path, help="an interpreter that has pocketsphinx")
    parser.add_argument("--engine", choices=["greedy", "lm"], help=argparse.SUPPRESS)
    parser.add_argument("--listed", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def read(table: Path, every: int) -> Iterator[Recording]:
    """Yield every Nth recording of a table."""
    with table.open(newline="") as stream:
        for row in list(csv.DictReader(stream))[::every]:
            yield Recording(audio.read_audio(table.parent / row["wav_filename"]), row["transcript"])


def _install(place: Path) -> Path | None:
    """Return an interpreter with pocketsphinx; None, with a line that says why, if there is none to be had."""
    python = place / "peer" / "bin" / "python"
    venv.create(place / "peer", with_pip=False)
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", PEER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["pip failed"]
        print(f"without {PEER}: {why[0]}: name an interpreter that has it with --peer", file=sys.stderr, flush=True)
        return None
    return python


def _forms(clean: Sequence[Recording]) -> dict[str, list[Recording]]:
    from scipy import signal  # here: it would count as memory of the engines

    rng = np.random.default_rng(1)
    return {
        "clean": list(clean),
        "offset": [Recording(one.samples + OFFSET, one.transcript) for one in clean],
        "background": [
            Recording(np.concatenate([_background(one, 1, rng), one.samples, _background(one, 1, rng)]), one.transcript)
            for one in clean
        ],
        "joined": list(joined(clean, rng)),
        "8 kHz": [
            Recording(signal.resample_poly(np.round(signal.resample_poly(one.samples, 1, 2)), 2, 1), one.transcript)
            for one in clean
        ],
    }


def _background(one: Recording, seconds: float, rng: np.random.Generator) -> Floats:
    """Return noise of the spectrum and the level of the quietest 50 ms of a recording."""
    from scipy import signal

    size = audio.SAMPLE_RATE // 20
    parts = one.samples[: len(one.samples) // size * size].reshape(-1, size)
    parts = parts - parts.mean(1, keepdims=True)
    quiet = parts[(parts**2).sum(1).argmin()]
    noise = rng.standard_normal(round(seconds * audio.SAMPLE_RATE) + size)
    shaped: Floats = signal.fftconvolve(noise, quiet / np.sqrt(size), "valid")[: round(seconds * audio.SAMPLE_RATE)]
    return shaped


def joined(
    clean: Sequence[Recording], rng: np.random.Generator, longest: float = LONGEST, pause: float = PAUSE
) -> Iterator[Recording]:
    """Yield recordings joined with pauses of their background, each up to `longest` seconds."""
    parts: list[Floats] = []
    texts: list[str] = []
    for one in clean:
        if parts and sum(map(len, parts)) + len(one.samples) > longest * audio.SAMPLE_RATE:
            yield Recording(np.concatenate(parts), " ".join(texts))
            parts, texts = [], []
        parts += [_background(one, pause, rng)] if parts else []
        parts.append(one.samples)
        texts.append(one.transcript)
    yield Recording(np.concatenate(parts), " ".join(texts))


def _write(place: Path, recordings: Sequence[Recording]) -> Path:
    place.mkdir()
    names = []
    for number, one in enumerate(recordings):
        path = place / f"{number}.raw"
        path.write_bytes(np.round(one.samples).clip(-32768, 32767).astype("<i2").tobytes())
        names.append(str(path))
    listed = place / "list.txt"
    listed.write_text("\n".join(names) + "\n")
    return listed


def _engines(export: Path, peer: Path | None) -> dict[str, list[str]]:
    own = [sys.executable, "-m", "tests.benchmarks.peers", str(export)]
    engines = {"this, greedy": [*own, "--engine", "greedy"], "this, language model": [*own, "--engine", "lm"]}
    if peer is not None:
        script = Path(__file__).with_name("peers_pocketsphinx.py")
        engines["pocketsphinx, the same"] = [str(peer), str(script), str(export / LANGUAGE_MODEL)]
    return engines


def _run(command: list[str], listed: Path) -> Any:
    result = listed.with_name("result.json")
    more = ["--listed", str(listed), "--result", str(result)] if "--engine" in command else [str(listed), str(result)]
    subprocess.run([*command, *more], check=True, cwd=ROOT)
    return json.loads(result.read_text())


def _own(export: Path, engine: str, listed: Path, result: Path) -> int:
    """Transcribe the files as `transcribe` does, with the sound of raw files."""
    recogniser = Recogniser(export)
    options = transcriber.Options(export, language_model="own" if engine == "lm" else None)
    search = transcriber.search(recogniser, options)
    texts = {}
    started = time.process_time()
    for name in listed.read_text().splitlines():
        samples = np.fromfile(name, "<i2").astype(np.float32)
        size = audio.BLOCK * audio.SAMPLE_RATE
        blocks = iter([samples[start : start + size] for start in range(0, len(samples), size)])
        _, texts[name] = transcriber.transcribe_blocks(blocks, recogniser, search.text if search else recogniser.greedy)
    spent = time.process_time() - started
    result.write_text(json.dumps({"texts": texts, "cpu_seconds": spent, "memory": peak_memory()}))
    return 0


def peak_memory() -> int:
    """Return the most memory in bytes that this process had. That of getrusage begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def _line(form: str, name: str, recordings: Sequence[Recording], found: Any, listed: Path) -> str:
    names = listed.read_text().splitlines()
    references = {file: one.transcript for file, one in zip(names, recordings, strict=True)}
    rate = wer.score_corpus(references, found["texts"]).wer or 0.0
    factor = found["cpu_seconds"] / (sum(len(one.samples) for one in recordings) / audio.SAMPLE_RATE)
    return f"{form:11} {name:24} {rate:7.2%} {factor:7.4f} {found['memory'] / 1e6:5.0f}"


if __name__ == "__main__":
    sys.exit(main())
