"""Importer `an4`: CMU's census data of 1991, spelled names and numbers; free for any use.

The archive contains an4/etc/ (an4_train.fileids, an4_train.transcription, and the same for test) and an4/wav/ in NIST
SPHERE. The content of an4_raw.bigendian.tar.gz, unpacked by hand, is read too. The test set is the official one. There
is no official validation set: it is made of eight speakers of the training set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import Trouble
from ..corpus import Corpus, Utterance
from ..parameters import Parameters
from ..text import Alphabet
from .tools.directories import directory_of, first_existing
from .tools.download import RemoteFile
from .tools.transcripts import spoken
from .tools.unpack import obtain

# CMU's own address, http://www.speech.cs.cmu.edu/databases/an4/, has been dead since 2022 (NVIDIA-NeMo/Speech#4188):
# this is NVIDIA's copy of the archive. No hash of it is published.
ARCHIVE = RemoteFile("https://dldata-public.s3.us-east-2.amazonaws.com/an4_sphere.tar.gz")
DEV_SPEAKERS = {"fjdn", "fplp", "mcel", "mdxs", "mjdr", "mmap", "mrjc2", "mtcv"}
LINE = re.compile(r"(?:<s> )?(?P<text>.*?)(?: </s>)? \((?P<name>[^()\s]+)\)\s*")


def load(parameters: Parameters) -> Corpus:
    """Load the corpus; download it first if it is not there."""
    place = directory_of(parameters)
    root = first_existing(place / "an4", place / "wav") or obtain(ARCHIVE, place, parameters.mirror_url) / "an4"
    root = root.parent if root.name == "wav" else root
    training = tuple(_read(root, "train", parameters.alphabet))
    return Corpus(
        "an4",
        tuple(one for one in training if one.speaker not in DEV_SPEAKERS),
        tuple(one for one in training if one.speaker in DEV_SPEAKERS),
        tuple(_read(root, "test", parameters.alphabet)),
    )


def _read(root: Path, kind: str, alphabet: Alphabet) -> Iterator[Utterance]:
    """Yield the utterances in the order of their table: .fileids lists their paths, .transcription their texts."""
    table = root / "etc" / f"an4_{kind}.transcription"
    texts = dict(_texts(table))
    for name in _lines(table.with_suffix(".fileids")):
        path = root / "wav" / name
        audio = next((one for one in (Path(f"{path}.sph"), Path(f"{path}.raw")) if one.is_file()), None)
        if path.name not in texts or audio is None:
            missing = f"{path}.sph or .raw" if audio is None else f"its line in {table}"
            raise Trouble(f"{table.with_suffix('.fileids')}: {name}: expected {missing}: unpack the archive again")
        yield Utterance(path.name, audio, spoken(texts[path.name], alphabet), path.parent.name)


def _texts(table: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(table), 1):
        found = LINE.fullmatch(line)
        if not found:
            raise Trouble(f"{table}:{number}: {line!r}: expected <s> TEXT </s> (UTTERANCE)")
        yield found["name"], found["text"]


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text("ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"{path}: cannot be read: {error}: expected AN4's archive, unpacked") from error
