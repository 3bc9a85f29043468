"""Tiny corpora made of tones, and the job as the tracker starts it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from deepspeech_wer.training import dataset, importers
from deepspeech_wer.training.corpus import Utterance
from deepspeech_wer.training.parameters import Parameters
from deepspeech_wer.training.text import Alphabet

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "bin" / "run-wer-automation.sh"
NOTEBOOK = ROOT / "deepspeech_wer" / "training" / "DeepSpeech.ipynb"
TONES = {
    "a": 400,
    "b": 900,
    "c": 1700,
    "ά": 400,
    "σς": 900,
    "ж": 1700,
    "中": 400,
    "हि": 900,
    "é🙂": 1700,
}  # Hz: each word of a corpus is a tone

HISS = 640  # samples, 40 ms


def tone_speech(text: str, seed: int = 0, pause: float = 0) -> np.ndarray[Any, np.dtype[np.int16]]:
    """[samples] at 16 kHz: 0.2 s of tone for each word, with silence around it and some noise.

    A pause, in seconds, is silence before and after the whole. Each tone begins with a hiss: else all were narrow-band.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(3200) / 16_000
    silence, longer = np.zeros(1600), np.zeros(round(pause * 16_000))
    parts = [longer, silence]
    for word in text.split():
        tone = np.sin(2 * np.pi * TONES[word] * time) * 6000
        tone[:HISS] += np.random.default_rng(len(parts)).normal(0, 200, HISS)
        parts += [tone, silence]
    parts.append(longer)
    noise = rng.normal(0, 20, sum(map(len, parts)))
    return (np.concatenate(parts) + noise).astype(np.int16)


DISTURBANCES = ("single steps", "deep rumble", "rumble", "wind", "settling offset", "offset that jumps")


def disturbance(kind: str, seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """[samples] of what a microphone or a sound card adds, in whole numbers; nobody speaks."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    rng = np.random.default_rng(0)
    samples = {
        "single steps": rng.normal(0, 0.2, len(time)),
        "deep rumble": 400 * np.sin(2 * np.pi * 7 * time + 1),
        "rumble": 3000 * np.sin(2 * np.pi * 22 * time),
        "wind": 1500 * np.sin(2 * np.pi * 12 * time) * np.sin(2 * np.pi * 0.3 * time),
        "settling offset": 8000 * np.exp(-2 * time),
        "offset that jumps": np.where(time < seconds * 0.6, 0, 150),
    }[kind]
    return np.round(samples).astype(np.float32)


def random_texts(words: Sequence[str], *, longest: int = 3, **counts: int) -> dict[str, list[str]]:
    """For each set so many texts of one to `longest` words, the same ones each time."""
    rng = np.random.default_rng(1)
    return {
        name: [" ".join(rng.choice(list(words), rng.integers(1, longest + 1))) for _ in range(count)]
        for name, count in counts.items()
    }


def write_corpus(
    directory: Path, sets: Mapping[str, list[str]], suffix: str = ".wav", pauses: Sequence[float] = (0,)
) -> Path:
    """A corpus for importer csv: for each set a table and a recording of each transcript, the pauses taken in turn."""
    for place, (name, texts) in enumerate(sets.items()):
        (directory / name).mkdir(parents=True)
        with (directory / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["wav_filename", "wav_filesize", "transcript", "speaker"])
            for number, text in enumerate(texts):
                path = directory / name / f"{number}{suffix}"
                speech = tone_speech(text, 1000 * place + number, pauses[number % len(pauses)])  # no recording twice
                soundfile.write(path, speech, 16_000, subtype="PCM_16")
                writer.writerow([f"{name}/{path.name}", path.stat().st_size, text, f"s{number % 2}"])
    return directory


def noise_utterance(directory: Path, name: str, transcript: str, seconds: float = 1.0) -> Utterance:
    """An utterance whose recording, `NAME.wav`, is noise; names of one length have the same noise."""
    signal = np.random.default_rng(len(name)).normal(0, 1000, int(seconds * 16_000)).astype(np.int16)
    soundfile.write(directory / f"{name}.wav", signal, 16_000)
    return Utterance(name, directory / f"{name}.wav", transcript)


def prepare(directory: Path, *utterances: Utterance) -> tuple[dataset.Item, ...]:
    """Items of utterances in English, with the features in `directory`/cache."""
    return dataset.prepare(utterances, Alphabet(), directory / "cache")


def prepare_sets(parameters: Parameters, directory: Path) -> dict[str, tuple[dataset.Item, ...]]:
    """The three sets of the corpus that the parameters name, with the features in `directory`/features."""
    corpus = importers.load(parameters)
    return {
        name: dataset.prepare(
            one,
            parameters.alphabet,
            directory / "features",
            tolerant=corpus.tolerant,
            is_causal=parameters.lookahead > 0,
        )
        for name, one in corpus.sets().items()
    }


SMALL = {
    "ds_n_hidden": "24",
    "ds_epochs": "3",
    "ds_train_batch_size": "8",
    "ds_importer": "csv",
    "ds_report_count": "2",
}
# With these a network learns the tones.
LEARNING = {"ds_epochs": "40", "ds_learning_rate": "0.01", "ds_train_batch_size": "4", "ds_dropout_rate": "0"}


@dataclass(frozen=True)
class Job:
    """Starts the job as the tracker does."""

    logs: Path
    dataset: Path
    script: Path = SCRIPT
    cwd: Path | None = None

    def command(self, *arguments: str) -> list[str]:
        return [str(self.script), *arguments]

    def environment(self, **variables: str) -> dict[str, str]:
        own = {"ds_python": sys.executable, "ds_logs_dir": str(self.logs), "ds_dataset_path": str(self.dataset)}
        return {**os.environ, **SMALL, **own, **variables}

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**variables),
            cwd=self.cwd,
            capture_output=True,
            text=True,
            check=False,
        )

    def record(self, name: str = "hyper.json") -> Any:
        """The one record of that name that the job left."""
        (path,) = self.logs.glob(f"*/{name}")
        return json.loads(path.read_text())
