"""python -m deepspeech_wer"""

import os
import sys

from deepspeech_wer.cli import main

if __name__ == "__main__":
    code = main()
    if code == 0 and "logging" not in sys.modules:
        os._exit(0)  # a busy tick has opened nothing: to tidy the interpreter up would be a twentieth of its time
    sys.exit(code)
