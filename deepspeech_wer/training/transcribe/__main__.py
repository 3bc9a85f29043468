"""python -m deepspeech_wer.training.transcribe MODEL FILE...: transcribe recordings with an exported network.

MODEL is an export, such as DIR/latest of ds_export_dir=DIR, or the model.tflite in it. Each FILE (wav, flac, mp3, ...,
of any rate) gives one line: file, duration in seconds, real-time factor (processor seconds per second of speech) and
text, separated by tabs, in UTF-8 whatever the locale. /dev/stdin, or another pipe, is a FILE too.

With - as the FILE, a stream is transcribed: raw 16-bit little-endian samples at 16 kHz, one channel, from standard
input, as `arecord -f S16_LE -r 16000 -t raw` writes them. Its lines are `partial` or `final`, start and end of the
speech in seconds, and the text: a partial one every 200 ms of speech, a final one at each pause.

The text is decoded greedily or, with --lm or --hot-word, by beam search, which takes some 20 times as long; partial
lines are always decoded greedily.

With --json each line is a JSON object, with the begin, the end and the confidence of each word.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ...errors import Trouble
from ..threads import limit_numpy

STREAM = "-"
MOST_WEIGHT = 20  # as for ds_lm_alpha and ds_lm_beta


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0; 1: a file or the model cannot be used; 2: wrong command line."""
    given = parser().parse_args(argv)
    if STREAM in given.files and len(given.files) > 1:
        parser().error(f"{STREAM} cannot be read together with files")
    if given.lm is None and (given.alpha, given.beta) != (None, None):
        parser().error("--alpha and --beta need --lm")
    if given.beam_width is not None and not (given.lm or given.hot_word or given.alternatives):
        parser().error("--beam-width needs --lm, --hot-word or --alternatives")
    if not given.json and (given.letters or given.alternatives):
        parser().error("--letters and --alternatives need --json")
    if STREAM in given.files and sys.stdin is None:
        parser().error(f"{STREAM}: standard input is closed")
    if sys.stdout is None:
        parser().error("standard output is closed: there is no place for the text")
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            # A locale without the letters would spoil the text; a file's name need not be valid text.
            output.reconfigure(encoding="utf-8", errors="backslashreplace")
    limit_numpy(given.threads)
    from . import details, transcriber  # they import numpy, whose threads are limited now

    options = transcriber.Options(
        model=given.model,
        language_model=given.lm,
        alpha=given.alpha,
        beta=given.beta,
        beam_width=given.beam_width,
        threads=given.threads,
        hot_words=dict(given.hot_word),
        details=details.Wanted(letters=given.letters, alternatives=given.alternatives) if given.json else None,
    )
    try:
        if given.files == [STREAM]:
            return transcriber.transcribe_stream(options, sys.stdin.buffer)
        return transcriber.transcribe_files(options, [Path(file) for file in given.files])
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    summary, _, more = (__doc__ or "").partition("\n\n")
    made = argparse.ArgumentParser(
        "python -m deepspeech_wer.training.transcribe",
        description=more or summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("model", metavar="MODEL", type=Path)
    made.add_argument("files", metavar="FILE", nargs="+")
    made.add_argument(
        "--lm", metavar="LM", help="decode with this language model, ARPA or KenLM; own: the one in MODEL"
    )
    made.add_argument("--alpha", metavar="X", type=_weight, help="its weight (as in MODEL, or 0.8)")
    made.add_argument("--beta", metavar="X", type=_weight, help="bonus per word (as in MODEL, or 0.5)")
    made.add_argument("--beam-width", metavar="N", type=_count, help="texts in the beam (as in MODEL, or 100)")
    made.add_argument(
        "--hot-word",
        metavar="WORD=BOOST",
        type=_hot_word,
        action="append",
        default=[],
        help="make a word likelier, by a factor of e to the power of BOOST; may be repeated",
    )
    made.add_argument("--json", action="store_true", help="print JSON: words with begin, end and confidence")
    made.add_argument("--letters", action="store_true", help="and the letters of each word, with their times")
    made.add_argument("--alternatives", metavar="N", type=_count, default=0, help="and up to N other texts")
    made.add_argument("--threads", metavar="N", type=_count, default=1, help="processor threads (1)")
    return made


def _count(text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d{0,3}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 9999")
    return int(text)


def _hot_word(text: str) -> tuple[str, float]:
    word, sign, boost = text.rpartition("=")
    if not sign or not word or word.split() != [word]:
        raise argparse.ArgumentTypeError(f"{text!r}: expected WORD=BOOST, such as ada=3")
    return word, _weight(boost)


def _weight(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not abs(found) <= MOST_WEIGHT:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from -{MOST_WEIGHT} to {MOST_WEIGHT}")
    return found


if __name__ == "__main__":
    sys.exit(main())
