"""The command schema: prints the JSON Schema of a file that jobs write."""

from __future__ import annotations

import argparse
from pathlib import Path

from deepspeech_wer.exit_codes import DONE

SCHEMAS = Path(__file__).parent.parent / "schemas"
NAMES = ("hyper", "utterances", "history")


def run(options: argparse.Namespace) -> int:
    """Print a schema as it is shipped."""
    print(text(options.name), end="")
    return DONE


def text(name: str) -> str:
    """Return the schema of hyper, utterances or history."""
    return (SCHEMAS / f"{name}.json").read_text("utf-8")
