"""The entry point: `deepspeech-wer` and `python -m deepspeech_wer`."""

import signal
import sys


def main() -> int:
    """Run one command and return its exit code. Ctrl-C while modules are loaded ends the process, without a traceback.

    cli.py takes over from there.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from deepspeech_wer import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
