"""Makes `python -m deepspeech_wer` work."""

import sys

from deepspeech_wer.cli import main

if __name__ == "__main__":
    sys.exit(main())
