"""Real speech for tests of signals: some utterances of AN4, or a stand-in where it is not there."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from tone_corpus import tone_speech

from deepspeech_wer.training import audio
from deepspeech_wer.training.arrays import Floats

AN4 = Path(__file__).resolve().parents[3] / "shared" / "speech" / "an4"


def utterances(count: int = 5) -> list[Floats]:
    """Return the [samples] of some utterances, the same ones each time."""
    table = AN4 / "test.csv"
    if not table.exists():
        return [tone_speech("a b c", seed).astype(np.float32) for seed in range(count)]
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))[:: 130 // count][:count]
    return [audio.without_offset(audio.read_audio(AN4 / row["wav_filename"])) for row in rows]
