"""Aligns transcripts with pocketsphinx 5; started by word_times.py with an interpreter that has it.

    PYTHON tests/benchmarks/aligner_pocketsphinx.py LIST RESULT.json

LIST has a line for each file: raw 16-bit samples at 16 kHz, a tab, the transcript. RESULT has for each file its words
as [word, begin, end], in seconds; files whose transcript it cannot align are not in it. The acoustic model and the
dictionary are those in the package, which calls a spelled letter "b.".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pocketsphinx import Decoder, get_model_path


def main() -> int:
    """Align the files, and write the words."""
    listed, result = map(Path, sys.argv[1:])
    lowest = {
        "loglevel": "FATAL",
        "hmm": get_model_path("en-us/en-us"),
        "dict": get_model_path("en-us/cmudict-en-us.dict"),
    }
    decoder = Decoder(lm=None, **lowest)
    found = {}
    for line in listed.read_text().splitlines():
        name, _, text = line.partition("\t")
        spelled = [f"{word}." if len(word) == 1 and decoder.lookup_word(f"{word}.") else word for word in text.split()]
        try:
            decoder.set_align_text(" ".join(spelled))
            _hear(decoder, name)
            decoder.set_alignment()  # of phones, in a second pass
            _hear(decoder, name)
        except (RuntimeError, ValueError):  # a word that the dictionary has not, or no path
            continue
        rows = [
            (one.name.split("(")[0], one.start / 100, (one.start + one.duration) / 100)
            for one in decoder.get_alignment().words()
            if one.name[0] not in "<["
        ]
        if [word for word, _, _ in rows] == spelled:
            found[name] = [(word, *times) for word, (_, *times) in zip(text.split(), rows, strict=True)]
    result.write_text(json.dumps(found))
    return 0


def _hear(decoder: Decoder, name: str) -> None:
    decoder.start_utt()
    decoder.process_raw(Path(name).read_bytes(), no_search=False, full_utt=True)
    decoder.end_utt()


if __name__ == "__main__":
    sys.exit(main())
