"""Transcribes with pocketsphinx 5; started by peers.py with an interpreter that has it.

    PYTHON tests/benchmarks/peers_pocketsphinx.py LM.arpa LIST RESULT.json

LIST has a line for each file: raw 16-bit samples at 16 kHz. The acoustic model and the dictionary are those in the
package.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from pocketsphinx import Decoder, get_model_path  # type: ignore[import-not-found,unused-ignore]


def main() -> int:
    """Transcribe the files, and write their texts, the CPU-seconds and the peak memory."""
    model, listed, result = map(Path, sys.argv[1:])
    lowest = {
        "loglevel": "FATAL",
        "hmm": get_model_path("en-us/en-us"),
        "dict": get_model_path("en-us/cmudict-en-us.dict"),
    }
    decoder = Decoder(lm=str(model), **lowest)
    texts = {}
    started = time.process_time()
    for name in listed.read_text().splitlines():
        decoder.start_utt()
        decoder.process_raw(Path(name).read_bytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        texts[name] = found.hypstr if found else ""
    spent = time.process_time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result.write_text(json.dumps({"texts": texts, "cpu_seconds": spent, "memory": memory}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
