"""What a judging remembers in the cache, so that the next one looks at the newest runs alone.

    {"version": 1, "terms": <digest>, "check": <digest of the rest>, "told": <digest of the verdicts>, "silent": [...],
     "cuts": [...]}
    <for each cut two lines: the verdicts that were others then; the packed state>

A cut is a state from which judging can resume. It is valid as long as the runs that led to it are unchanged, which
their keys show. The verdicts are read from verdicts.json, one per line; those of further test sets from a file beside
this one. The file may be deleted at any time. If it is missing or damaged, or was made under other settings, by another
release or by another user, judging starts from nothing and gives the same result to the byte.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer.files import make_private, write_atomically
from deepspeech_wer.verdicts import judge, packed
from deepspeech_wer.verdicts.findings import Verdict
from deepspeech_wer.verdicts.judge import REMEMBERED, Judgement, Progress, Terms
from deepspeech_wer.verdicts.listed import pieces
from deepspeech_wer.verdicts.series import Draw

VERSION = 1
MAX_BYTES = 1 << 30
_TOGETHER = 1000  # keys that are hashed at once


class Runs(NamedTuple):
    """The runs to judge, in the order of judging."""

    places: Sequence[int]
    keys: Sequence[str]  # all that a run's draw is made of
    draws: Callable[[int], Sequence[Draw]]  # those from an index on


class Cut(NamedTuple):
    """A state to go on from, as it is kept."""

    draws: int  # runs so far
    reach: int  # runs that had a say in it
    entries: int
    place: int | None  # of the last merge: its re-trainings change the state
    keys: str  # digest of the keys of the runs that had a say in it
    is_regular: bool
    undo: Mapping[int, bytes]  # the lines that were others
    state: bytes  # packed, compressed, in base64


class Memory(NamedTuple):
    """The verdicts as they were told last, a line each, and states to go on from, oldest first."""

    lines: Sequence[bytes] = ()
    cuts: Sequence[Cut] = ()


def go_on(memory: Memory, runs: Runs, terms: Terms) -> tuple[Memory, Judgement]:
    """Judge the runs, from the newest state that still holds. The judgement's verdicts are those that are new."""
    cuts = _still_true(memory.cuts, runs)
    progress, start = Progress(), 0
    if cuts:
        try:
            progress = packed.unpack(json.loads(zlib.decompress(base64.b64decode(cuts[-1].state))))
            start = progress.draws
        except (ValueError, TypeError, LookupError, AttributeError, zlib.error):
            cuts, progress = [], Progress()
    before = _lines_at(cuts[-1], memory.lines) if cuts else []
    judged = judge.go_on(progress, runs.draws(start), terms)
    lines = before[:]
    for entry, verdict in judged.journal:
        _set(lines, entry, verdict)
    told = {entry for entry, _ in judged.journal}
    kept = [_moved(cut, memory.lines, lines, told) for cut in cuts]
    new = _new_cuts(judged, before, lines, runs, told)
    latest = (kept + new)[-1:]
    regular = [cut for cut in (kept + new)[:-1] if cut.is_regular]
    return Memory(lines, [*regular[-REMEMBERED:], *latest]), judged


def load(path: Path, terms: str, told: Sequence[bytes]) -> Memory:
    """Read what was remembered under these terms; nothing if it cannot be used.

    `told` are the lines that were told when it was saved.
    """
    try:
        head, _, body = _read(path).partition(b"\n")
        header = json.loads(head)
        expected = (VERSION, terms, _digest([body]), _digest(pieces(told)))
        if tuple(header[name] for name in ("version", "terms", "check", "told")) != expected:
            return Memory()
        lines = list(told)
        for entry in header["silent"]:
            lines.insert(entry, b"")
        rows = body.split(b"\n")
        return Memory(lines, list(map(_cut, header["cuts"], rows[::2], rows[1::2])))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return Memory()


def save(path: Path, terms: str, memory: Memory, told: Sequence[bytes]) -> None:
    """Keep it for the next judging, which is slower if that fails. `told` are the lines in verdicts.json, or beside."""
    rows = []
    for cut in memory.cuts:
        undo = {str(entry): line.decode("ascii") for entry, line in cut.undo.items()}
        rows += [json.dumps(undo).encode("ascii"), cut.state]
    body = b"\n".join(rows)
    names = ("draws", "reach", "entries", "place", "keys", "is_regular")
    header = {
        "version": VERSION,
        "terms": terms,
        "check": _digest([body]),
        "told": _digest(pieces(told)),
        "silent": [entry for entry, line in enumerate(memory.lines) if not line],
        "cuts": [{name: getattr(cut, name) for name in names} for cut in memory.cuts],
    }
    with suppress(OSError):
        make_private(path.parent)
        write_atomically(path, [json.dumps(header).encode("ascii"), b"\n", body], mode=0o600)


def told_in(path: Path) -> list[bytes]:
    """Read lines that `save_told` wrote; nothing if they cannot be used."""
    try:
        text = _read(path)
    except OSError:
        return []
    return text.split(b",\n") if text else []


def save_told(path: Path, told: Sequence[bytes]) -> None:
    """Keep verdicts that stand in no verdicts.json as they are: those of one of several test sets."""
    with suppress(OSError):
        write_atomically(path, pieces(told), mode=0o600)


def _read(path: Path) -> bytes:
    """Read a file that nobody else could have written; nothing if somebody could. Raises OSError."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as stream:
        status = os.fstat(stream.fileno())
        is_own = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not is_own or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return b""
        return stream.read()


def _cut(header: Mapping[str, Any], undo: bytes, state: bytes) -> Cut:
    lines = {int(entry): line.encode("ascii") for entry, line in json.loads(undo).items()}
    return Cut(**header, undo=lines, state=state)


def _still_true(cuts: Sequence[Cut], runs: Runs) -> list[Cut]:
    kept, digests = [], _Digests(runs.keys)
    for cut in cuts:
        if cut.draws > len(runs.keys) or digests.at(cut.reach) != cut.keys:
            break
        if cut.draws < len(runs.places) and runs.places[cut.draws] == cut.place:
            break
        kept.append(cut)
    return kept


def _lines_at(cut: Cut, lines: Sequence[bytes]) -> list[bytes]:
    found = list(lines[: cut.entries])
    for entry, line in cut.undo.items():
        found[entry] = line
    return found


def _set(lines: list[bytes], entry: int, verdict: Verdict | None) -> None:
    if entry == len(lines):
        lines.append(_line(verdict) if verdict else b"")
    elif verdict and lines[entry]:  # an empty one stays: its merge has a verdict
        lines[entry] = _line(verdict)


def _line(verdict: Verdict) -> bytes:
    return json.dumps(verdict._asdict(), separators=(",", ":")).encode("ascii")


def _moved(cut: Cut, before: Sequence[bytes], now: Sequence[bytes], told: Iterable[int]) -> Cut:
    """Return an earlier cut with what has to be undone now."""
    entries = {*cut.undo, *(entry for entry in told if entry < cut.entries)}
    then = {entry: cut.undo.get(entry, before[entry]) for entry in sorted(entries)}
    return _with(cut, {entry: line for entry, line in then.items() if line != now[entry]})


def _with(cut: Cut, undo: Mapping[int, bytes]) -> Cut:
    return Cut(cut.draws, cut.reach, cut.entries, cut.place, cut.keys, cut.is_regular, undo, cut.state)


def _new_cuts(
    judged: Judgement, before: Sequence[bytes], now: Sequence[bytes], runs: Runs, told: Iterable[int]
) -> list[Cut]:
    made, lines, done, digests = [], list(before), 0, _Digests(runs.keys)
    entries = sorted(told)
    for cut in judged.cuts:
        for entry, verdict in judged.journal[done : cut.told]:
            _set(lines, entry, verdict)
        done, state = cut.told, cut.progress
        undo = {entry: lines[entry] for entry in entries if entry < state.entries and lines[entry] != now[entry]}
        text = json.dumps(packed.pack(state), separators=(",", ":")).encode("ascii")
        text = base64.b64encode(zlib.compress(text, 1))
        keys = digests.at(state.reach)
        made.append(Cut(state.draws, state.reach, state.entries, state.place, keys, cut.is_regular, undo, text))
    return made


class _Digests:
    """Digests of the first so many keys, asked for in rising order."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys, self._hash, self._count = keys, hashlib.sha256(), 0

    def at(self, count: int) -> str:
        for start in range(self._count, count, _TOGETHER):
            some = self._keys[start : min(start + _TOGETHER, count)]
            self._hash.update("".join(some).encode("utf-8", "surrogatepass"))
        self._count = max(self._count, count)
        return self._hash.copy().hexdigest()


def _digest(texts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for text in texts:
        found.update(text)
    return found.hexdigest()
