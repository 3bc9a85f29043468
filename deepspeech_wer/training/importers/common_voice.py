"""Importer `common_voice`: Mozilla Common Voice, sentences that volunteers read in more than a hundred languages, CC0.

A language's archive can be downloaded only after accepting its terms, so it has no fixed address. Put it into
`ds_dataset_path`, packed or unpacked, or name it in `ds_common_voice_archive` if it is at `ds_mirror_url`. It contains
RELEASE/LANGUAGE/{train,dev,test}.tsv and clips/*.mp3. The sets are used as published; `ds_alphabet` must list the
letters of the language.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import Trouble, UsageTrouble
from ...files import PARTIAL
from ..corpus import SETS, Corpus, Misshapen, Utterance, sorted_sets
from ..parameters import Parameters
from ..text import Alphabet
from .tools.directories import directory_of
from .tools.download import RemoteFile
from .tools.lines import numbered_lines
from .tools.transcripts import spoken
from .tools.unpack import obtain, was_obtained

COLUMNS = ("client_id", "path", "sentence")


def load(parameters: Parameters) -> Corpus:
    """Load the published sets of the one language in `ds_dataset_path`."""
    root = _language(parameters)
    tables = {kind: root / f"{kind}.tsv" for kind in SETS}
    sets = {kind: (_read(table, parameters.alphabet), table) for kind, table in tables.items()}
    return sorted_sets("common_voice", sets, tolerant=True)


def _language(parameters: Parameters) -> Path:
    place = directory_of(parameters)
    archive = _archive(parameters, place)
    if archive and (was_obtained(archive[0], place) or not _languages(place)):
        found = _languages(obtain(*archive))
    else:
        found = _languages(place)
    if not archive and not found:
        raise UsageTrouble(
            f"{place}: expected the archive of one language of Common Voice, from https://commonvoice.mozilla.org/, or "
            "what is in it; or set ds_common_voice_archive to its name and ds_mirror_url to where it is"
        )
    if len(found) != 1:
        several = ", ".join(str(path) for path in found) or "none"
        raise UsageTrouble(
            f"ds_dataset_path={str(place)!r}: expected train.tsv and clips of one language of Common Voice: {several}"
        )
    return found[0]


def _languages(place: Path) -> list[Path]:
    """Return the directories of languages, at most three levels down."""
    tables = (path for depth in ("", "*/", "*/*/", "*/*/*/") for path in place.glob(f"{depth}train.tsv"))
    whole = (path for path in tables if not any(part.endswith(PARTIAL) for part in path.relative_to(place).parts))
    return sorted(path.parent for path in whole if (path.parent / "clips").is_dir())


def _archive(parameters: Parameters, place: Path) -> tuple[RemoteFile, Path, str] | None:
    """Return `obtain`'s arguments for the archive that is named, or is in the directory; None if there is none."""
    name, mirror = parameters.common_voice_archive, parameters.mirror_url
    if name and mirror:
        return RemoteFile(name), place, mirror
    archives = list(place.glob("*.tar.gz"))
    return (RemoteFile(archives[0].name), place, str(place)) if len(archives) == 1 else None


def _read(table: Path, alphabet: Alphabet) -> Iterator[Utterance | Misshapen]:
    """Yield the utterances of a table. It knows no quotes, so a line break in a sentence makes two rows of one."""
    lines = numbered_lines(table)
    names = next(lines, (1, ""))[1].split("\t")
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise Trouble(f"{table}: no column {', '.join(missing)}: expected a table of Common Voice")
    for number, line in lines:
        fields = line.split("\t")
        if len(fields) != len(names):
            yield Misshapen(f"{table}:{number}", f"{len(fields)} columns: expected {len(names)}, as in the header")
        else:
            yield _utterance(table, number, dict(zip(names, fields, strict=True)), alphabet)


def _utterance(table: Path, line: int, row: dict[str, str], alphabet: Alphabet) -> Utterance | Misshapen:
    speaker, name, sentence = (row[column] for column in COLUMNS)
    if not speaker or not name or "/" in name:
        found = f"found {speaker!r}, {name!r}, {sentence!r}"
        return Misshapen(f"{table}:{line}", f"expected client_id, path and sentence, {found}")
    clip = table.parent / "clips" / (name if name.endswith(".mp3") else f"{name}.mp3")
    return Utterance(clip.stem, clip, spoken(sentence, alphabet), speaker[:16])  # of 128 hex digits
