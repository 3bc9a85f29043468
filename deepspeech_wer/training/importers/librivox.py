"""Importer `librivox`: LibriSpeech (Panayotov et al. 2015), 1000 hours of read English, CC BY 4.0.

`ds_librivox_subsets` lists the archives. Together, all train-* are the training set, all dev-* the validation
set and all test-* the test set, as in 2016. Each archive contains LibriSpeech/SUBSET/SPEAKER/CHAPTER/ with a .flac per
utterance and one .trans.txt. mini-LibriSpeech (train-clean-5, dev-clean-2) has the same layout, and no test set.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ...errors import Trouble, UsageTrouble
from ..corpus import SETS, Corpus, Misshapen, Utterance, sorted_sets
from ..csv_rows import NO_TEXT, NO_UTF_8
from ..parameters import Parameters
from ..text import Alphabet
from .tools.directories import directory_of, first_existing
from .tools.download import RemoteFile
from .tools.lines import numbered_lines
from .tools.transcripts import spoken
from .tools.unpack import obtain

ARCHIVES = "https://www.openslr.org/resources/12/"
MINI_ARCHIVES = "https://www.openslr.org/resources/31/"
TABLES = "*/*/[!.]*.trans.txt"  # a Mac writes ._NAME beside each file, which is none of these
MINI = ("train-clean-5", "dev-clean-2")  # of mini-LibriSpeech, for which only MD5 is published
SHA256 = {
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
}


def load(parameters: Parameters) -> Corpus:
    """Load the subsets asked for; download first those that are not there. Raises UsageTrouble for an unknown one."""
    names = _subsets(parameters.librivox_subsets)
    unknown = [name for name in parameters.test_set_names if name not in names or not name.startswith("test")]
    if unknown:
        raise UsageTrouble(
            f"ds_test_sets: {', '.join(unknown)}: expected some of the test sets in ds_librivox_subsets: "
            + ", ".join(name for name in names if name.startswith("test"))
        )
    place = directory_of(parameters)
    sets = {kind: (_read_all([name for name in names if name.startswith(kind)], parameters), place) for kind in SETS}
    return sorted_sets("librivox", sets, tolerant=True)


def _subsets(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = sorted(set(names) - SHA256.keys() - set(MINI))
    missing = [kind for kind in SETS if not any(name.startswith(kind) for name in names)]
    if unknown or missing or len(names) > len(set(names)):
        lacks = (
            "; mini-LibriSpeech has no test set: add test-clean"
            if missing == ["test"] and set(names) & set(MINI)
            else ""
        )
        raise UsageTrouble(
            f"ds_librivox_subsets={text!r}: expected, separated by commas, some of {', '.join((*SHA256, *MINI))}, each "
            f"once, and at least one each of train, dev and test{lacks}"
        )
    return names


def _read_all(names: list[str], parameters: Parameters) -> Iterator[Utterance | Misshapen]:
    for name in names:
        yield from _read(name, parameters)


def _read(name: str, parameters: Parameters) -> Iterator[Utterance | Misshapen]:
    root = _directory(name, parameters)
    tables = sorted(root.glob(TABLES))
    if not tables:
        raise Trouble(f"{root}: no SPEAKER/CHAPTER/*.trans.txt below it: remove it, and it is unpacked again")
    named: set[str] = set()
    for table in tables:
        yield from _chapter(table, parameters.alphabet, name if name.startswith("test") else None, named)
    _tell_unnamed(root, named)


def _tell_unnamed(root: Path, named: set[str]) -> None:
    found = sorted(
        os.path.join(folder, name)  # noqa: PTH118 - there may be 100,000
        for folder, _, names in os.walk(root)
        for name in names
        if name.endswith(".flac") and name not in named and not name.startswith(".")
    )
    if found:
        said = f"recordings that no table names, which are not used: {len(found)}, the first: {found[0]}"
        print(f"{root}: {said}", file=sys.stderr, flush=True)


def _directory(name: str, parameters: Parameters) -> Path:
    place = directory_of(parameters)
    if place.name in (*SHA256, *MINI) and next(place.glob(TABLES), None):
        raise UsageTrouble(
            f"ds_dataset_path={str(place)!r}: is one subset of LibriSpeech: expected the directory that holds all of "
            f"ds_librivox_subsets, such as {place.parent}"
        )
    by_hand = first_existing(place / "LibriSpeech" / name, place / name)
    if by_hand and next(by_hand.glob(TABLES), None):
        return by_hand
    is_mini = name in MINI
    remote = RemoteFile(f"{MINI_ARCHIVES if is_mini else ARCHIVES}{name}.tar.gz", SHA256.get(name))
    return obtain(remote, place, parameters.mirror_url) / "LibriSpeech" / name


def _chapter(table: Path, alphabet: Alphabet, part: str | None, named: set[str]) -> Iterator[Utterance | Misshapen]:
    """Yield the utterances of a table, and add the files that it names to `named`."""
    prefix = table.name.removesuffix(".trans.txt") + "-"  # SPEAKER-CHAPTER-
    for number, line in numbered_lines(table, rf"\r(?=\s*{re.escape(prefix)})"):
        name, text = (*line.split(maxsplit=1), "")[:2]
        audio = table.parent / f"{name}.flac"
        named.add(audio.name)
        if not text.strip() or "/" in name or not audio.is_file():
            yield Misshapen(
                f"{table}:{number}",
                f"{line!r}: expected UTTERANCE TEXT, and {audio.name} beside it",
                continues=not audio.name.startswith(prefix),
            )
        elif NO_TEXT.search(text):
            yield Misshapen(f"{table}:{number}", f"{line!r}: {NO_UTF_8}")
        else:
            where = f"{table}:{number}"
            yield Utterance(name, audio, spoken(text, alphabet), name.split("-")[0], part=part, where=where)
