"""Importer `synthetic`: a small corpus of spoken words, synthesised on this machine by eSpeak NG.

Another release of eSpeak NG speaks otherwise, and a test set must not change. So the speech is synthesised once and
kept, and a manifest with the SHA-256 of every file is verified at each use.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import shutil
from pathlib import Path

import soundfile

from ...errors import Trouble
from ...files import PARTIAL, write_atomically
from ..audio import SAMPLE_RATE, resample
from ..corpus import Corpus, Utterance, file_sha256
from ..parameters import Parameters
from .csv_table import read_tables
from .tools.espeak import Engine

# fmt: off
WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "up", "down", "left", "right", "on", "off", "yes", "no", "stop", "go",
    "red", "green", "blue", "white", "black", "light", "door", "window", "open", "close",
)
# fmt: on
VOICES = ("en-us", "en-us+f2", "en-us+f5", "en-us+m3", "en-us+m7", "en-gb-scotland", "en-gb-x-rp", "en-029")
LENGTHS = (2, 3, 4)  # words an utterance
Recipe = dict[str, int]  # utterances in each set
MANIFEST = "manifest.json"
VERSION = 1


def load(parameters: Parameters) -> Corpus:
    """Load the corpus of the sizes asked for, in `ds_dataset_path` or the cache; synthesise it first if need be."""
    recipe = _recipe(parameters)
    directory = parameters.dataset_path or parameters.cache_dir / f"synthetic-{_short_hash(recipe)}"
    if not (directory / MANIFEST).exists():
        _make(directory, recipe)
    _verify(directory, recipe)
    return read_tables("synthetic", {name: directory / f"{name}.csv" for name in recipe})


def _recipe(parameters: Parameters) -> Recipe:
    return {"train": parameters.synthetic_train, "dev": parameters.synthetic_dev, "test": parameters.synthetic_test}


def _make(directory: Path, recipe: Recipe) -> None:
    """Synthesise the corpus in a temporary directory, then rename that."""
    if directory.exists() and any(directory.iterdir()):
        raise Trouble(f"{directory}: holds files but no {MANIFEST}: expected an empty or new directory for the speech")
    beside = directory.with_name(f"{directory.name}.{os.getpid()}{PARTIAL}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        _fill(beside, recipe)
        _rename_unless_there(beside, directory)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _fill(directory: Path, recipe: Recipe) -> None:
    print(f"synthesising {sum(recipe.values())} utterances into {directory}", flush=True)
    engine = Engine()
    for name, count in recipe.items():
        (directory / name).mkdir()
        spoken = [_speak(engine, directory, f"{name}/{number:05d}.flac", number) for number in range(count)]
        _write_table(directory / f"{name}.csv", spoken)
    files = {str(path.relative_to(directory)): file_sha256(path) for path in sorted(directory.rglob("*.*"))}
    record = {"version": VERSION, "recipe": recipe, "files": files}
    write_atomically(directory / MANIFEST, json.dumps(record, indent=1, sort_keys=True).encode())


def _speak(engine: Engine, directory: Path, name: str, number: int) -> Utterance:
    # One rng per utterance, so that a larger set begins with the words of a smaller one.
    rng = random.Random(name)  # noqa: S311  # not for secrets
    text = " ".join(rng.choices(WORDS, k=rng.choice(LENGTHS)))
    voice = VOICES[number % len(VOICES)]
    samples = engine.speak(text, voice, rng.randint(140, 200), rng.randint(35, 65))
    soundfile.write(directory / name, resample(samples, engine.rate), SAMPLE_RATE, subtype="PCM_16")
    return Utterance(name, directory / name, text, voice)


def _write_table(path: Path, utterances: list[Utterance]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["wav_filename", "wav_filesize", "transcript", "speaker"])
        for utterance in utterances:
            writer.writerow([utterance.id, utterance.audio.stat().st_size, utterance.transcript, utterance.speaker])


def _rename_unless_there(beside: Path, directory: Path) -> None:
    try:
        beside.rename(directory)  # may replace an empty directory
    except OSError:
        if not (directory / MANIFEST).exists():  # else another training was faster, and its corpus is used
            raise


def _verify(directory: Path, recipe: Recipe) -> None:
    """Raise Trouble unless recipe and files are those of the manifest."""
    path = directory / MANIFEST
    cure = f"remove {directory}, and it is made again (a new test set, whose rates do not compare with the old ones)"
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Trouble(f"{path}: is not a readable manifest: {error}: {cure}") from error
    made, files = (record.get(name) for name in ("recipe", "files")) if isinstance(record, dict) else (None, None)
    if not isinstance(made, dict) or not isinstance(files, dict):
        raise Trouble(f"{path}: is not a readable manifest: expected recipe and files in it: {cure}")
    if made != recipe:
        raise Trouble(f"{directory}: holds synthetic speech of another recipe, {made}: expected {recipe}: {cure}")
    for name, expected in files.items():
        if not (directory / name).is_file() or file_sha256(directory / name) != expected:
            raise Trouble(f"{directory / name}: is not what was made (SHA-256 differs): {cure}")


def _short_hash(recipe: Recipe) -> str:
    return hashlib.sha256(json.dumps([VERSION, recipe, WORDS, VOICES, LENGTHS], sort_keys=True).encode()).hexdigest()[
        :12
    ]
