"""Importer `ldc93s1`: a single utterance, the LDC's public sample of TIMIT.

It is training, validation and test set at once, as in DeepSpeech since 2016. A rate of 0 shows that the parts work
together, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import Trouble
from ..corpus import Corpus, Utterance
from ..parameters import Parameters
from .tools.directories import directory_of
from .tools.download import RemoteFile, fetch, forget
from .tools.transcripts import spoken
from .tools.unpack import exclusive

# The LDC publishes no hashes.
AUDIO = RemoteFile("https://catalog.ldc.upenn.edu/desc/addenda/LDC93S1.wav")
TEXT = RemoteFile("https://catalog.ldc.upenn.edu/desc/addenda/LDC93S1.txt")


def load(parameters: Parameters) -> Corpus:
    """Load the utterance as all three sets; download it first if it is not there."""
    directory = directory_of(parameters)
    with exclusive(directory):
        audio, text = (fetch(remote, directory, parameters.mirror_url) for remote in (AUDIO, TEXT))
        try:
            _check(audio)
            sentence = _read(text)
        except Trouble:
            for remote in (AUDIO, TEXT):
                forget(remote, directory)
            raise
    only = (Utterance("LDC93S1", audio, spoken(sentence, parameters.alphabet)),)
    return Corpus("ldc93s1", only, only, only)


def _check(path: Path) -> None:
    with path.open("rb") as stream:
        if stream.read(4) not in (b"RIFF", b"NIST"):
            raise Trouble(f"{path}: is no recording: remove it, and it is downloaded again")


def _read(path: Path) -> str:
    """Read the sentence of a TIMIT text file: `FIRST_SAMPLE LAST_SAMPLE SENTENCE`."""
    parts = path.read_text("utf-8", "replace").split(maxsplit=2)
    if len(parts) < 3 or not (parts[0].isdigit() and parts[1].isdigit()):
        raise Trouble(f"{path}: expected FIRST_SAMPLE LAST_SAMPLE SENTENCE: remove it, and it is downloaded again")
    return parts[2]
