"""The tracker's own figures of each run, scored from its utterances.json once, and kept:

    measured/index             what each run's record was made from
    measured/runs/<id>.record  figures, what the job says otherwise, the comparison with the last comparable run
    measured/runs/<id>.js      the errors of each utterance, as published
    measured/sets/<name>*      the test sets, as published

All of it is derived and may be deleted: what is missing or damaged is made again from the archive. Nothing that a job
writes into utterances.json stops anything: what cannot be scored is logged once, and the run's page says why.
"""

from __future__ import annotations

import json
import logging
import os
import time
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import archive_record, derived, files, job_contract, run_table, wer
from deepspeech_wer.dashboard import heard as published
from deepspeech_wer.dashboard.details import Files, files_in
from deepspeech_wer.errors import Trouble
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run, as_json
from deepspeech_wer.run_table import Table
from deepspeech_wer.verdicts import recorded, utterance_file, utterance_scores
from deepspeech_wer.verdicts.recorded import Heard
from deepspeech_wer.verdicts.utterance_scores import Each, Score

VERSION = 1
MAX_BYTES = 48 << 20  # of a file to score: some 200,000 utterances, which take 300 MB of memory
MAX_SHOWN = 16 << 20  # bytes of a run's errors on the page
REMEMBERED = 12  # runs in memory at once
_DIGITS = 16  # of digests, in the index

log = logging.getLogger(__name__)


@dataclass
class Entry:
    """What is known of one run without opening its record."""

    stamp: str  # of the files that it was made from
    sets: dict[str, str] = field(default_factory=dict)  # test set -> name of its file
    results: dict[str, str] = field(default_factory=dict)  # test set -> digest of what was heard
    is_shown: bool = False  # whether the page gets the errors of each utterance
    against: str = ""  # digest of what the comparison was made from
    moved: dict[str, float] = field(default_factory=dict)  # test set -> utterances worse or better, halved
    key: str = ""  # checksum of the record


@dataclass
class Measures:
    """The kept figures; what the page asks for."""

    root: Path
    entries: dict[str, Entry] = field(default_factory=dict)  # by run id
    waiting: int = 0  # runs that were left for the next call
    compared: str = ""  # digest of all that the comparisons are made from
    is_changed: bool = False  # whether the index must be written

    def stamp(self, run: str) -> str:
        return self.entries[run].key if run in self.entries else ""

    def record(self, run: str) -> dict[str, Any] | None:
        """Return a run's record without what is ours alone; None if there is none."""
        found = _read_record(self.root, run) if run in self.entries else None
        return {name: found[name] for name in _SHOWN if name in found} if found else None

    def edits(self, run: str) -> Path | None:
        entry = self.entries.get(run)
        return _edits(self.root, run) if entry and entry.is_shown else None

    def sets(self, runs: Iterable[str]) -> Mapping[str, Path]:
        names = {name for run in runs if self.edits(run) for name in self.entries[run].sets.values()}
        listed: dict[str, Path] = {}
        for name in sorted(names):
            found = _parts(self.root / "sets" / name)
            listed |= {f"sets/{name}/{part}": self.root / "sets" / name / part for part in found}
            listed[f"sets/{name}.js"] = self.root / "sets" / f"{name}.js"
        return listed


_SHOWN = ("sets", "trouble", "remark", "differs", "is_shown", "against", "noise")


def update(
    places: Places,
    ordered: Sequence[Run],
    files_of: Callable[[Table], Iterable[Files]] | None = None,
    *,
    budget_s: float | None = None,
) -> Measures:
    """Score the runs that have utterances and are not scored yet, newest first. Raises OSError if it cannot write.

    `ordered` are the runs in the order of archive.in_order, `files_of` returns the files of the runs' directories.
    After `budget_s` seconds the rest is left for the next call, but at least one run is scored.
    """
    root, table = places.measured, run_table.of(ordered)
    stamps = _stamps(table, files_of)
    if not stamps and not root.is_dir():
        return Measures(root)
    measures = _load(root, stamps)
    end = None if budget_s is None else time.monotonic() + budget_s
    scored = 0
    for name in [name for name in reversed(list(stamps)) if name not in measures.entries]:
        if scored and end is not None and time.monotonic() > end:
            measures.waiting += 1
            continue
        measures.entries[name] = _score(root, table[table.places[name]].directory, stamps[name])
        scored += 1
    if scored:
        measures.is_changed, measures.compared = True, ""
    if measures.waiting:
        log.info("%d runs with utterances wait to be scored by the next ticks", measures.waiting)
    return measures


def save(places: Places, measures: Measures) -> None:
    """Write the index, remove what no run needs, and note whether runs wait. Raises OSError."""
    if measures.is_changed and measures.root.is_dir():
        _remove_others(measures)
        runs = {name: vars(measures.entries[name]) for name in sorted(measures.entries)}
        derived.write(measures.root / "index", str(VERSION), {"compared": measures.compared, "runs": runs})
    if measures.waiting:
        files.write_atomically(places.unmeasured, b"%d\n" % measures.waiting, mode=0o600)
    else:
        places.unmeasured.unlink(missing_ok=True)


def heard(measures: Measures, run: str, name: str) -> Heard | None:
    """Return the errors of a run on one test set; None if they cannot be read."""
    return _heards(measures.root, run).get(name)


def each(measures: Measures, run: str, name: str) -> Each | None:
    """Return the same without the words, from memory for the runs that were asked for last."""
    return _eaches(measures.root, run).get(name)


class Known(NamedTuple):
    """All that is known of a run on one test set."""

    figures: Mapping[str, Any]  # see `figures`
    heard: Heard
    text: Callable[[int], str]  # the reference at a place, one space between words


def known(places: Places, runs: Sequence[Run], files_of: Callable[[Table], Iterable[Files]] | None = None) -> Measures:
    """Return the kept figures of runs, and score nothing. A tick may be at work."""
    return _load(places.measured, _stamps(run_table.of(runs), files_of))


def sets_of(measures: Measures, run: Run) -> dict[str, Known]:
    """Return what is known of a run, by test set. A run that is not scored yet is scored now, and not kept.

    Raises Trouble if it has no utterances, or none that can be scored.
    """
    record, heards = measures.record(run.id), _heards(measures.root, run.id)
    if record and record["trouble"]:
        raise Trouble(f"{run.id}: {record['trouble']}")
    kept = {one["set"]: one for one in record["sets"]} if record else {}
    if kept and kept.keys() == heards.keys():
        directory = measures.root / "sets"
        return {name: Known(kept[name], heards[name], _Texts(directory / kept[name]["file"])) for name in kept}
    scored = utterance_scores.summarise(_read(run.directory))[1]
    return {name: _known(one) for name, one in scored.items()}


def _known(scored: utterance_scores.Scored) -> Known:
    missing = tuple(place for place, one in enumerate(scored.rows) if one.hypothesis is None)
    rows = scored.rows
    return Known(
        figures(scored.score),
        Heard(scored.each, scored.edits, missing),
        lambda place: " ".join(wer.words(rows[place].reference)),
    )


class _Texts:
    """Reads the references of a test set, a part at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._parts = directory, dict[int, list[str]]()
        self._starts: list[int] = (_set(directory.with_suffix(".js")) or {})["parts"]

    def __call__(self, place: int) -> str:
        part = bisect_right(self._starts, place) - 1
        if part not in self._parts:
            told = published.argument(_bytes(self._directory / f"{part}.js"))
            self._parts[part] = told["texts"] if isinstance(told, dict) else []
        texts = self._parts[part]
        at = place - self._starts[part]
        return texts[at] if at < len(texts) else ""


def write_record(measures: Measures, run: str, changes: Mapping[str, Any]) -> None:
    """Change a run's record. Raises OSError."""
    before = _read_record(measures.root, run)
    if before is None:
        measures.waiting += 1
        return
    measures.entries[run].key = _put(measures.root, run, {**before, **changes})
    measures.is_changed = True


def drop(measures: Measures, run: str) -> None:
    """Forget a run whose kept files are damaged: the next call scores it again. Raises OSError."""
    for name in measures.entries.pop(run).sets.values():
        path = measures.root / "sets" / f"{name}.js"
        if _set(path) is None:
            path.unlink(missing_ok=True)
    measures.waiting += 1
    measures.is_changed = True


def figures(score: Score) -> dict[str, Any]:
    """Return the figures of a test set as a record: counts, and rates as fractions."""
    return {
        **as_json(score),
        "wer": score.wer,
        "cer": score.cer,
        "sentence_error_rate": score.sentence_error_rate,
    }


def _score(root: Path, directory: Path, stamp: str) -> Entry:
    """Score a run and keep what that gives."""
    run, entry = directory.name, Entry(stamp)
    record: dict[str, Any] = {"version": VERSION, "stamp": stamp, "sets": [], "trouble": None, "remark": None}
    record |= {"differs": [], "is_shown": False, "against": None, "noise": None}
    try:
        summary, scored = utterance_scores.summarise(_read(directory))
        told = (archive_record.read(directory).hyper or {}) if scored else {}
    except Trouble as trouble:
        record["trouble"] = str(trouble).replace(f"{directory}/", "")
        log.warning("%s: its utterances are not scored: %s", run, record["trouble"])
        entry.key = _put(root, run, record)
        return entry
    record["remark"] = summary.remark
    if summary.remark:
        log.warning("%s: utterances.json: %s", run, summary.remark)
    for line in (utterance_scores.differs_from_job(one, told) for one in summary.sets.values()):
        if line:
            record["differs"].append(line)
            log.warning("%s: %s", run, line)
    wrong = {}
    for name, one in scored.items():
        said = recorded.said(one)
        _keep_set(root, said)
        wrong[name] = recorded.of_run(one, said.name)
        entry.sets[name], entry.results[name] = said.name, one.score.digest[:_DIGITS]
        record["sets"].append({**figures(one.score), "file": said.name})
    data = published.edits_js(run, recorded.VERSION, wrong)
    entry.is_shown = record["is_shown"] = len(data) <= MAX_SHOWN
    _write(_edits(root, run), data)
    entry.key = _put(root, run, record)
    return entry


def _read(directory: Path) -> utterance_file.Utterances:
    """Raises Trouble if there are no utterances that can be used."""
    path = directory / job_contract.UTTERANCES
    with suppress(OSError):
        size = path.stat(follow_symlinks=False).st_size
        if size > MAX_BYTES:
            raise Trouble(f"{path}: has {size} bytes: at most {MAX_BYTES} are scored: write the test set's alone")
    found = utterance_file.read(path)
    if found is None:
        raise Trouble(f"{path}: missing: the job writes it")
    return found


def _keep_set(root: Path, said: recorded.Said) -> None:
    """Write a test set unless it is there. Its record is written last, so it is there with all its texts."""
    index = root / "sets" / f"{said.name}.js"
    if index.exists():
        return
    for number, part in enumerate(said.parts):
        _write(root / "sets" / said.name / f"{number}.js", published.texts_js(said.name, number, part))
    _write(index, published.said_js(said.name, said.record))


def _load(root: Path, stamps: Mapping[str, str]) -> Measures:
    """Return what is known of the runs whose files are as they were."""
    index = derived.read(root / "index", str(VERSION))
    listed = index["runs"] if index else {}
    there, sets = _names(root / "runs"), _names(root / "sets")
    measures = Measures(root, compared=index["compared"] if index else "")
    for run in reversed(list(stamps)):
        record = listed.get(run)
        entry = Entry(**record) if record else _from_record(root, run)
        if entry is None or entry.stamp != stamps[run] or f"{run}.record" not in there:
            continue
        files_of_sets = {f"{name}.js" for name in entry.sets.values()}
        if files_of_sets <= sets and (not files_of_sets or f"{run}.js" in there):
            measures.entries[run] = entry
        sets |= files_of_sets  # the newest run that has a lost test set is scored again, which makes it anew
    measures.is_changed = listed.keys() != measures.entries.keys()
    return measures


def _from_record(root: Path, run: str) -> Entry | None:
    """Make the entry of a run anew from its record: the index was lost."""
    record = _read_record(root, run)
    if record is None:
        return None
    sets = {one["set"]: one["file"] for one in record["sets"]}
    results = {one["set"]: one["digest"][:_DIGITS] for one in record["sets"]}
    return Entry(record["stamp"], sets, results, record["is_shown"], key=_checksum(record))


def _remove_others(measures: Measures) -> None:
    root = measures.root
    if any(place.is_symlink() for place in (root, root / "runs", root / "sets")):
        return  # a job put it there: what it leads to is not ours
    for name in _names(root / "runs"):
        if name.rpartition(".")[0] not in measures.entries:
            (root / "runs" / name).unlink(missing_ok=True)
    used = {name for entry in measures.entries.values() for name in entry.sets.values()}
    for name in _names(root / "sets"):
        if name.removesuffix(".js") in used:
            continue
        if name.endswith(".js"):
            (root / "sets" / name).unlink(missing_ok=True)
        else:
            files.remove_tree(root / "sets" / name)


def _heards(root: Path, run: str) -> dict[str, Heard]:
    told = published.argument(_bytes(_edits(root, run)))
    found = {}
    with suppress(KeyError, TypeError):
        for one in told["sets"] if told and told["version"] == recorded.VERSION else ():
            heard = recorded.read(_set(root / "sets" / f"{one['set']}.js"), one)
            if heard:
                found[str(one["name"])] = heard
    return found


@lru_cache(maxsize=REMEMBERED)
def _eaches(root: Path, run: str) -> dict[str, Each]:
    return {name: heard.each for name, heard in _heards(root, run).items()}


@lru_cache(maxsize=2)
def _set(path: Path) -> Any:
    return published.argument(_bytes(path))


def forget() -> None:
    """Forget what is in memory: the files may be others."""
    _eaches.cache_clear()
    _set.cache_clear()


def _files(run: Run) -> Files:
    return files_in(run.directory) if run.hyper else ("", "")


def _stamps(table: Table, files_of: Callable[[Table], Iterable[Files]] | None) -> dict[str, str]:
    """Return what tells whether the files are as they were, of each run that has a result and utterances."""
    found = files_of(table) if files_of else map(_files, table)
    looked = zip(table.columns("id", "is_done"), found, strict=True)
    utterances = f"/{job_contract.UTTERANCES}/"
    return {name: digest for (name, is_done), (names, digest) in looked if is_done and utterances in f"/{names}/"}


def _record(root: Path, run: str) -> Path:
    return root / "runs" / f"{run}.record"


def _edits(root: Path, run: str) -> Path:
    return root / "runs" / f"{run}.js"


def _read_record(root: Path, run: str) -> dict[str, Any] | None:
    """Return a record; None if it is missing or damaged: then it is removed, and the next call scores the run again."""
    found: dict[str, Any] | None = derived.read(_record(root, run), str(VERSION))
    if found is None:
        with suppress(OSError):
            _record(root, run).unlink(missing_ok=True)
    return found


def _put(root: Path, run: str, record: Mapping[str, Any]) -> str:
    """Write a record and return its checksum."""
    derived.write(_record(root, run), str(VERSION), record)
    return _checksum(record)


def _checksum(record: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(record).encode()):08x}"


def _write(path: Path, data: bytes) -> None:
    files.make_private(path.parent)
    files.write_atomically(path, data, mode=0o600)


def _names(directory: Path) -> set[str]:
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        return {entry.name for entry in entries}
    return set()


def _parts(directory: Path) -> list[str]:
    return sorted(name for name in _names(directory) if name.endswith(".js"))


def _bytes(path: Path) -> bytes:
    try:
        return files.read(path, files.LARGE)
    except OSError:
        return b""
