"""Transcribes with pocketsphinx 5; started by peers.py with an interpreter that has it.

    PYTHON tests/benchmarks/peers_pocketsphinx.py LM.arpa LIST RESULT.json

LIST has a line for each file: raw 16-bit samples at 16 kHz. The acoustic model and the dictionary are those in the
package.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pocketsphinx import Decoder, get_model_path


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
    result.write_text(json.dumps({"texts": texts, "cpu_seconds": spent, "memory": peak_memory()}))
    return 0


def peak_memory() -> int:
    """Return the most memory in bytes that this process had. That of getrusage begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


if __name__ == "__main__":
    sys.exit(main())
