"""Importer `an4`: CMU's census data of 1991, spelled names and numbers; free for any use.

The archive contains an4/etc/ (an4_train.fileids, an4_train.transcription, and the same for test) and an4/wav/ in NIST
SPHERE. The content of an4_raw.bigendian.tar.gz, or .littleendian, unpacked by hand, is read too. The test set is the
official one. There is no official validation set: it is made of eight speakers of the training set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..corpus import Corpus, Misshapen, Utterance, sort_out
from ..csv_rows import NO_TEXT
from ..parameters import Parameters
from ..text import Alphabet
from .tools.directories import directory_of, first_existing
from .tools.download import RemoteFile
from .tools.lines import numbered_lines
from .tools.transcripts import spoken
from .tools.unpack import obtain

# CMU's own address, http://www.speech.cs.cmu.edu/databases/an4/, has been dead since 2022 (NVIDIA-NeMo/Speech#4188):
# this is NVIDIA's copy of the archive. No hash of it is published.
ARCHIVE = RemoteFile("https://dldata-public.s3.us-east-2.amazonaws.com/an4_sphere.tar.gz")
DEV_SPEAKERS = {"fjdn", "fplp", "mcel", "mdxs", "mjdr", "mmap", "mrjc2", "mtcv"}
NAME = re.compile(r"(?:(?P<text>.*\S)\s+)?\((?P<name>[^()\s]+)\)\s*")
ROW_END = r"(?<=\))\s*\r|\r(?=\s*<s>)"
MARKED = re.compile(r"\s*<s>\s+(?P<text>[^<>]*[^<>\s])\s+</s>")
MARKS = re.compile("[<>\x01-\x08\x0e-\x1f\x7f]")  # and control characters


def load(parameters: Parameters) -> Corpus:
    """Load the corpus; download it first if it is not there."""
    place = directory_of(parameters)
    root = first_existing(place / "an4", place / "wav") or obtain(ARCHIVE, place, parameters.mirror_url) / "an4"
    root = root.parent if root.name == "wav" else root
    training, left_out = sort_out(_read(root, "train", parameters.alphabet), root)
    test, left_out_of_test = sort_out(_read(root, "test", parameters.alphabet), root)
    return Corpus(
        "an4",
        tuple(one for one in training if one.speaker not in DEV_SPEAKERS),
        tuple(one for one in training if one.speaker in DEV_SPEAKERS),
        test,
        left_out={"train": left_out, "test": left_out_of_test},
    )


def _read(root: Path, kind: str, alphabet: Alphabet) -> Iterator[Utterance | Misshapen]:
    """Yield the utterances in the order of their table: .fileids lists their paths, .transcription their texts."""
    table = root / "etc" / f"an4_{kind}.transcription"
    texts, faults = _texts(table)
    yield from faults
    names = table.with_suffix(".fileids")
    for number, name in numbered_lines(names, r"\r"):
        path = root / "wav" / name.strip()
        audio = next((one for one in (Path(f"{path}.sph"), Path(f"{path}.raw")) if one.is_file()), None)
        text = texts.get(path.name)
        if audio and text is not None:
            yield Utterance(path.name, audio, spoken(text, alphabet), path.parent.name, where=f"{names}:{number}")
        elif audio is None or path.name not in texts:
            missing = f"{path}.sph or .raw" if audio is None else f"its line in {table}"
            yield Misshapen(f"{names}:{number}", f"{name}: expected {missing}: unpack the archive again")


def _texts(table: Path) -> tuple[dict[str, str | None], list[Misshapen]]:
    """Return the text of each name, None where its line is one of the faults, and the faults."""
    texts: dict[str, str | None] = {}
    first: dict[str, int] = {}
    faults = []
    is_begun = False
    for number, line in numbered_lines(table, ROW_END):
        name, text = _parsed(line, is_begun=is_begun)
        is_begun = name is None
        if text is None:
            faults.append(Misshapen(f"{table}:{number}", f"{line!r}: expected <s> TEXT </s> (UTTERANCE)"))
        elif name in texts:
            faults.append(Misshapen(f"{table}:{number}", f"{line!r}: {name} is listed twice: expected it once"))
        if name is None:
            continue
        if texts.get(name) not in (None, text):  # which of them is right is not known
            faults.append(Misshapen(f"{table}:{first[name]}", f"{name} has another text in line {number}"))
        texts[name] = text if texts.get(name, text) == text else None
        first.setdefault(name, number)
    return texts, faults


def _parsed(line: str, *, is_begun: bool) -> tuple[str | None, str | None]:
    """Return (name, text). The test set has no <s>: there, the end of a transcript that a line break cut looks whole.

    `is_begun`: the line before has no name.
    """
    found = NAME.fullmatch(line)
    if not found:
        return None, None
    said = found["text"] or ""
    marked = MARKED.fullmatch(said)
    text = marked["text"] if marked else said
    is_faulty = not text or MARKS.search(text) or NO_TEXT.search(text) or (is_begun and not marked)
    return found["name"], None if is_faulty else text
