"""Importer `ted`: TED-LIUM release 2 (Rousseau et al. 2014), 207 hours of English talks, CC BY-NC-ND 3.0.

The archive contains TEDLIUM_release2/{train,dev,test}/ with a recording per talk in sph/ and its segments in stm/.
Segments are read from the talks when they are needed, without a copy. As in other recipes, neither the gaps between
segments nor segments with an unintelligible word (<unk>) are used.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import Trouble
from ..corpus import SETS, Corpus, Misshapen, Segment, Utterance, sorted_sets, uncut
from ..csv_rows import NO_TEXT, NO_UTF_8
from ..parameters import Parameters
from ..text import Alphabet
from .tools.directories import directory_of, first_existing
from .tools.download import RemoteFile
from .tools.lines import numbered_lines
from .tools.transcripts import spoken
from .tools.unpack import obtain

ARCHIVE = RemoteFile(
    "https://www.openslr.org/resources/19/TEDLIUM_release2.tar.gz",
    "93281b5fcaaae5c88671c9d000b443cb3c7ea3499ad12010b3934ca41a7b9c58",
)
ROW_END = r"\r(?=;;|\s*\S+\s+\S+\s+\S+\s+[\d.]+\s+[\d.]+(?:\s|$))"
EXPECTED = "expected TALK CHANNEL SPEAKER START END TEXT, times in seconds"
GAPS = ("inter_segment_gap", "ignore_time_segment_in_scoring")
UNKNOWN = "<unk>"
NOT_SPOKEN = re.compile(r"<sil>|\{[^}]*\}|\(\d+\)")  # silences; noises and fillers; marks of pronunciation variants


class Row(NamedTuple):
    """A segment, as its table has it."""

    speaker: str
    segment: Segment
    text: str
    where: str  # table:line


def load(parameters: Parameters) -> Corpus:
    """Load the corpus; download it first if it is not there."""
    place = directory_of(parameters)
    root = first_existing(place / "TEDLIUM_release2" / "train", place / "train" / "stm")
    root = root.parent if root and root.name == "stm" else root
    root = root.parent if root else obtain(ARCHIVE, place, parameters.mirror_url) / "TEDLIUM_release2"
    sets = {kind: (_read(root / kind, parameters.alphabet), root / kind) for kind in SETS}
    return sorted_sets("ted", sets, tolerant=True)


def _read(directory: Path, alphabet: Alphabet) -> Iterator[Utterance | Misshapen]:
    tables = sorted(directory.glob("stm/[!.]*.stm"))  # a Mac writes ._NAME.stm beside them
    if not tables:
        raise Trouble(f"{directory}: no stm/*.stm below it: remove it, and it is unpacked again")
    unknown = 0
    for table in tables:
        audio = directory / "sph" / f"{table.stem}.sph"
        rows = list(uncut(_rows(table)))
        if rows and not audio.is_file():
            raise Trouble(f"{table}: expected its recording at {audio}: unpack the archive again")
        for row in rows:
            if isinstance(row, Misshapen):
                yield row
            elif UNKNOWN in row.text:
                unknown += 1
            elif row.speaker not in GAPS and row.text.strip() not in GAPS:
                yield _utterance(row, audio, alphabet)
    if unknown:
        print(f"{directory}: segments with {UNKNOWN}, which are not used: {unknown}", file=sys.stderr, flush=True)


def _rows(table: Path) -> Iterator[Row | Misshapen]:
    """Yield the rows of a table of STM: TALK CHANNEL SPEAKER START END [<LABELS>] TEXT."""
    talks, channels = set[str](), set[str]()
    for number, line in numbered_lines(table, ROW_END):
        if line.startswith(";;"):
            continue
        parts = line.split(maxsplit=5)
        where = f"{table}:{number}"
        row = _row(parts, where)
        if row and not talks:
            talks = {parts[0], table.stem}  # both: the file may have been renamed
        if row and parts[0] in talks:
            channels.add(parts[1])
            yield Misshapen(where, f"{line!r}: {NO_UTF_8}") if NO_TEXT.search(line) else row
        else:
            # The rest of a broken line may begin with a name, of a talk about oneself for example.
            is_own = parts[:1] and parts[0] in talks and channels.issuperset(parts[1:2])
            yield Misshapen(where, f"{line!r}: {EXPECTED}", continues=not is_own)


def _row(parts: list[str], where: str) -> Row | None:
    try:
        _, _, speaker, start, end = parts[:5]
        segment = Segment(float(start), float(end))
    except ValueError:
        return None
    text = re.sub(r"^<(?!unk>)[^>]*>\s*", "", parts[5]) if len(parts) == 6 else ""
    is_used = speaker not in GAPS and text.strip() not in GAPS
    return None if is_used and not 0 <= segment.start < segment.end < math.inf else Row(speaker, segment, text, where)


def _utterance(row: Row, audio: Path, alphabet: Alphabet) -> Utterance:
    start, end = row.segment
    sentence = NOT_SPOKEN.sub(" ", row.text).replace(" '", "'")  # "it 's": TED-LIUM writes suffixes as words
    name = f"{audio.stem}-{round(start * 100):07d}-{round(end * 100):07d}"  # as in Kaldi's recipe
    return Utterance(name, audio, spoken(sentence, alphabet), row.speaker, row.segment, where=row.where)
