"""Three rows of an utterance for a terminal: what was said, and what two runs heard, word below word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Pair = Sequence[str | None]  # said, heard
_WIDTH = 96  # characters of a row, before the next block begins
_GAP = "***"


def rows(before: Sequence[Pair], after: Sequence[Pair]) -> Iterator[str]:
    """Yield the lines of two alignments of one reference. What is wrong is in brackets, a word not heard is ***."""
    columns = list(_columns(_slots(before), _slots(after)))
    for block in _blocks([tuple(map(str, column)) for column in columns]):
        for label, place in (("said", 0), ("before", 1), ("after", 2)):
            cells = [column[place].ljust(max(map(len, column))) for column in block]
            yield f"{label:<8}{' '.join(cells)}".rstrip()


Slot = tuple[list[str], str | None, str | None]  # words heard before a word, the word said, and what was heard for it


def _slots(pairs: Sequence[Pair]) -> list[Slot]:
    """Return a slot for each word of the reference, and one for its end."""
    slots: list[Slot] = []
    inserted: list[str] = []
    for said, heard in pairs:
        if said is None:
            inserted.append(heard or "")
        else:
            slots.append((inserted, said, heard))
            inserted = []
    return [*slots, (inserted, None, None)]


def _columns(before: list[Slot], after: list[Slot]) -> Iterator[tuple[str, str, str]]:
    for (more, said, old), (others, _, new) in zip(before, after, strict=True):
        for place in range(max(len(more), len(others))):
            cells = [f"[{words[place]}]" if place < len(words) else "" for words in (more, others)]
            yield _GAP, cells[0], cells[1]
        if said is not None:
            yield said, _cell(said, old), _cell(said, new)


def _cell(said: str, heard: str | None) -> str:
    if heard is None:
        return _GAP
    return heard if heard == said else f"[{heard}]"


def _blocks(columns: Sequence[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    block: list[tuple[str, ...]] = []
    width = 0
    for column in columns:
        size = max(map(len, column)) + 1
        if block and width + size > _WIDTH:
            yield block
            block, width = [], 0
        block.append(column)
        width += size
    if block:
        yield block
