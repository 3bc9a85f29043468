"""Trains with ds_alphabet=bytes on Russian, Hindi and Chinese of eSpeak NG, and has the export transcribe its test set.

    .venv/bin/python -m tests.benchmarks.languages

Utterances of one to three words; ten words of each language, each utterance in one of them. Prints the job's rates, and
those of `transcribe`. Takes some 2 CPU-minutes; needs the extra [demo].
"""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import soundfile

from deepspeech_wer import wer
from deepspeech_wer.training.audio import SAMPLE_RATE, resample
from deepspeech_wer.training.importers.tools.espeak import Engine

ROOT = Path(__file__).resolve().parents[2]
WORDS = {
    "ru": "ноль один два три четыре пять шесть семь восемь девять".split(),  # noqa: SIM905
    "hi": "शून्य एक दो तीन चार पाँच छह सात आठ नौ".split(),  # noqa: SIM905
    "cmn": "你好 谢谢 再见 今天 明天 天气 朋友 老师 学生 中国".split(),  # noqa: SIM905
}
SETS = {"train": 600, "dev": 60, "test": 120}
SETTINGS = {
    "ds_importer": "csv",
    "ds_alphabet": "bytes",
    "ds_decoders": "greedy,beam,lm",
    "ds_n_hidden": "64",
    "ds_epochs": "30",
    "ds_learning_rate": "0.004",
    "ds_display_step": "0",
    "ds_validation_step": "10",
    "ds_report_count": "3",
    "ds_threads": "1",
}


def main() -> int:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        _make(place / "corpus")
        places = {"dataset_path": "corpus", "logs_dir": "logs", "export_dir": "exports", "cache_dir": "cache"}
        own = {f"ds_{key}": str(place / value) for key, value in places.items()}
        job = ROOT / "bin" / "run-wer-automation.sh"
        subprocess.run([job], env={**os.environ, **SETTINGS, **own, "ds_python": sys.executable}, check=True)
        [record] = [json.loads(path.read_text("utf-8")) for path in (place / "logs").glob("*/hyper.json")]
        for decoder, rates in record["results"]["decoders"].items():
            print(f"{decoder}: WER {rates['wer']:.2%}, CER {rates['cer']:.2%}")
        print(f"{record['results']['cpu_seconds']:.0f} CPU-seconds of training")
        _transcribe(place)
    return 0


def _make(directory: Path) -> None:
    engine, rng = Engine(), random.Random(1)
    for kind, count in SETS.items():
        (directory / kind).mkdir(parents=True)
        with (directory / f"{kind}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["wav_filename", "wav_filesize", "transcript"])
            for number in range(count):
                voice = rng.choice(sorted(WORDS))
                text = " ".join(rng.choice(WORDS[voice]) for _ in range(rng.randint(1, 3)))
                path = directory / kind / f"{number}.wav"
                spoken = engine.speak(text, voice, rng.randint(130, 170), rng.randint(30, 70))
                soundfile.write(path, resample(spoken, engine.rate), SAMPLE_RATE)
                writer.writerow([f"{kind}/{path.name}", path.stat().st_size, text])


def _transcribe(place: Path) -> None:
    with (place / "corpus" / "test.csv").open(newline="", encoding="utf-8") as stream:
        texts = {str(place / "corpus" / row["wav_filename"]): row["transcript"] for row in csv.DictReader(stream)}
    for more in ([], ["--lm", "own"]):
        module = "deepspeech_wer.training.transcribe"
        command = [sys.executable, "-m", module, str(place / "exports" / "latest"), "--json", *more, *texts]
        done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
        lines: list[Any] = [json.loads(line) for line in done.stdout.decode().splitlines()]
        score = wer.score_corpus(texts, {one["file"]: one["text"] for one in lines})
        timed = sum(len(one["words"]) for one in lines)
        print(
            f"transcribe {' '.join(more)}: WER {score.wer or 0:.2%}, CER {score.cer or 0:.2%}; {timed} words with times"
        )
        print("\n".join(f"    {one['text']}" for one in lines[:5]))


if __name__ == "__main__":
    sys.exit(main())
