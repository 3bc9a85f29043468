"""Archived runs and people's decisions -> verdicts.json: what each merge did to the word error rate, and why we say so.

    {"version": 2, "of": <digest of what it was made from>,
    "verdicts": [
    <one a line>
    ],
    "events": [...], "retraining": {"sha", "rerun_of", "seed", "reason"} or null, "gaps": [...], "marks": [...],
    "notes": [...], "calibrations": [...]}  (fields of `verdicts.calibration.Measured`, and what it says in one line)

The file is derived: the same archive gives the same file, to the byte. `verdicts` judges; this module reads and writes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import __version__, decision_files, files, run_table
from deepspeech_wer.configuration.settings import Retraining
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.judging import draws, remembered, standing
from deepspeech_wer.judging.blame import Blame
from deepspeech_wer.judging.draws import Ordered
from deepspeech_wer.judging.remembered import Memory, Runs
from deepspeech_wer.judging.standing import Told
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run, as_json
from deepspeech_wer.run_table import Table
from deepspeech_wer.verdicts import calibration, noise, sets
from deepspeech_wer.verdicts.calibration import Measured
from deepspeech_wer.verdicts.judge import Judgement, Terms
from deepspeech_wer.verdicts.levels import Acceptance
from deepspeech_wer.verdicts.listed import LinesOfFile, Listed, pieces
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw

VERSION = standing.VERSION
_MAX_SEED = 2**31 - 1
_CODE = ("hyper.py", "judging/draws.py", "judging/remembered.py", "judging/verdict_file.py")  # and verdicts/

log = logging.getLogger(__name__)


def update(
    places: Places, runs: Sequence[Run], results: Mapping[str, str], wanted: Retraining, *, page: str | None = None
) -> dict[str, Any]:
    """Judge all runs, log what changed, write verdicts.json and return its record. Raises OSError if it cannot.

    `page` is the address of the repository, for links. What is to be trained again is also kept in the cache, since
    every idle tick reads it; so is what makes the next judging quick.
    """
    before = _told(places.verdicts)
    made = _make(places, runs, results, wanted, told=before.lines, page=page)
    check = standing.check(made.text)
    if (check, made.head + made.tail) != (before.check, before.head + before.tail):
        _log_changes(made, before)
        files.write_atomically(places.verdicts, made.text, mode=0o600)
        made.remember()
    elif made.is_forgotten:  # lost, or of another release
        made.remember()
    small = {name: made.rest[name] for name in ("version", "of", "retraining", "gaps", "calibrations")}
    small["check"] = check
    files.write_atomically(places.retraining, json.dumps(small).encode(), mode=0o600)
    # From the file: 10,000 lines in memory would be 4 MB while the page is built.
    lines = LinesOfFile(places.verdicts, len(made.head), map(len, made.told))
    return {**made.rest, "verdicts": Listed(lines)}


def make(
    places: Places, runs: Sequence[Run], results: Mapping[str, str], wanted: Retraining, *, page: str | None = None
) -> dict[str, Any]:
    """Judge all runs and return the record of verdicts.json. `results` are digests by run id, "" if unknown."""
    made = _make(places, runs, results, wanted, told=_told(places.verdicts).lines, page=page)
    return {**made.rest, "verdicts": list(Listed(made.told))}


def _calibrations(measured: Sequence[Measured], seen: Sequence[Draw]) -> list[dict[str, Any]]:
    """Return the records, each with whether it is the noise of the series that the newest merge is in."""
    newest = next((draw for draw in reversed(seen) if draw.rate is not None and draw.rerun_of is None), None)
    fits = [newest and noise.fits(one.signature, one.variables, newest.signature, newest.variables) for one in measured]
    usable = [number for number, one in enumerate(measured) if fits[number] and one.sd_pp]
    return [
        {**one._asdict(), "sentence": one.sentence, "is_used": number in usable[-1:]}
        for number, one in enumerate(measured)
    ]


def _log_changes(made: _Made, told: Told) -> None:
    """Log each verdict that is new or another than before; of an archive judged for the first time, the newest."""
    before = made.sets[0].before.lines if made.knows_lines_before else told.lines
    pairs = zip(made.lines, before, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], pairs))  # the new ones go on from them
    old, new = before[same:], made.lines[same:]
    changed = [json.loads(line) for line in _without(new, old)]
    known = _states(told.head) if not before else _states_of_lines(_without(old, new))
    if known is None:  # as if nothing had been told
        before, known = (), {}
    known |= {event["start"]: "worse" for event in made.rest["events"] if event["state"] == "open"}  # notify logs it
    for verdict in changed if before or known else changed[-1:]:
        state = verdict["verdict"]
        if state not in (known.get(verdict["sha"]), "failed"):  # the log has the failure already
            level = logging.WARNING if state == "worse" else logging.INFO
            log.log(level, "%s: verdict: %s: %s", verdict["sha"][:12], state, verdict["reason"])


def _without(lines: Iterable[bytes], others: Iterable[bytes]) -> list[bytes]:
    left_out = {b"", *others}
    return [line for line in lines if line not in left_out]


def seed(sha: str, number: int) -> int:
    """Return the seed of a commit's re-training, the same at each call. `number` counts from 1."""
    digest = hashlib.sha256(f"{sha} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % _MAX_SEED


class _Set(NamedTuple):
    """The judgement of one test set."""

    place: Path  # of what is remembered
    terms: str
    before: Memory
    told: Sequence[bytes]  # the verdicts of `before`, as they stand beside it; none if they stand in verdicts.json
    memory: Memory
    judged: Judgement


@dataclass(frozen=True)
class _Made:
    """What verdicts.json is to hold, and what is to be remembered."""

    head: bytes
    lines: Sequence[bytes]  # the verdicts
    tail: bytes
    rest: Mapping[str, Any]  # the record without the verdicts
    sets: Sequence[_Set]  # the main one first

    @cached_property
    def told(self) -> Sequence[bytes]:
        """The lines of verdicts.json."""
        return list(filter(None, self.lines))

    @property
    def text(self) -> Iterator[bytes]:
        """The pieces of verdicts.json. No line has a line break: JSON writes it in two letters."""
        return chain((self.head,), pieces(self.told), (self.tail,))

    @property
    def knows_lines_before(self) -> bool:
        """Whether the verdicts that were told before are those that were remembered."""
        return len(self.sets) == 1 and bool(self.sets[0].before.lines)

    @property
    def is_forgotten(self) -> bool:
        """Whether nothing that was remembered could be used, so that all was judged from nothing."""
        return any(one.memory.cuts and not one.before.cuts for one in self.sets)

    def remember(self) -> None:
        """Keep what makes the next judging quick."""
        if len(self.sets) == 1:
            remembered.save(self.sets[0].place, self.sets[0].terms, self.sets[0].memory, self.told)
            return
        parts = []
        for one in self.sets:
            told = list(filter(None, one.memory.lines))
            remembered.save(one.place, one.terms, one.memory, told)
            remembered.save_told(_beside(one.place), told)
            parts.append(told)
        remembered.save_told(_together(self.sets[0].place), [_digest_of_all([*parts, self.told])])


def _make(
    places: Places,
    runs: Sequence[Run],
    results: Mapping[str, str],
    wanted: Retraining,
    *,
    told: Sequence[bytes],
    page: str | None,
) -> _Made:
    """Judge all runs. `told` are the lines of the present verdicts. Raises ValueError if two runs have the same id."""
    runs = run_table.of(runs)
    ordered = draws.order(runs)
    terms = _terms(places, wanted, ordered)
    others = draws.sets(ordered)
    keys = draws.keys(ordered, results)
    main = _judge(places.remembered, _Runs(ordered, keys, results), terms, told=None if others else told)
    found, lines, judged = [main], main.memory.lines, main.judged
    if others:
        shared = terms._replace(rules=terms.rules._replace(tests=1 + len(others)))
        for name, measured in others.items():
            place = places.remembered.with_name(f"{places.remembered.name}-{standing.digest(name)[:12]}")
            of_set = _Runs(ordered.only(measured), [keys[number] for number in measured], results)
            found.append(_judge(place, of_set, shared, test_set=name))
        of = dict(zip(others, found[1:], strict=True))
        before = _made_before(main, of, told)
        lines = sets.lines(lines, {name: one.memory.lines for name, one in of.items()}, before)
        places_of = dict(zip(ordered.runs.column("sha"), ordered.places, strict=True))
        judged = sets.combined(judged, {name: one.judged for name, one in of.items()}, places_of)
    seen = draws.draws(ordered.calibrated(), results)
    calibrated = {"calibrations": _calibrations(calibration.measured(seen), seen)}
    start, rest = (
        {"version": VERSION, "of": standing.source(places, wanted)},
        json.loads(json.dumps(_rest(judged, runs) | calibrated)),
    )
    Blame(ordered.runs, page).add(rest["events"])
    head = json.dumps(start)[:-1].encode("ascii") + standing.START
    tail = standing.END + json.dumps(rest, indent=1)[1:].encode("ascii") + b"\n"
    return _Made(head, lines, tail, {**start, **rest}, found)


class _Runs(NamedTuple):
    """The runs of a test set."""

    ordered: Ordered
    keys: Sequence[str]
    results: Mapping[str, str]


def _judge(
    place: Path, runs: _Runs, terms: Terms, *, told: Sequence[bytes] | None = None, test_set: str | None = None
) -> _Set:
    """Judge a test set from what is remembered at a place; its verdicts are beside it if `told` is None."""
    ordered, results = runs.ordered, runs.results
    measured = calibration.measured(draws.draws(ordered.calibrated(), results, test_set=test_set))
    terms = terms._replace(calibrations=tuple(one for found in measured if (one := found.for_noise())))
    of_terms = _digest_of(terms, test_set)
    own = remembered.told_in(_beside(place)) if told is None else ()
    before = remembered.load(place, of_terms, own if told is None else told)
    to_judge = Runs(
        ordered.places, runs.keys, lambda start: draws.draws(ordered, results, start=start, test_set=test_set)
    )
    memory, judged = remembered.go_on(before, to_judge, terms)
    return _Set(place, of_terms, before, own, memory, judged)


def _made_before(main: _Set, others: Mapping[str, _Set], told: Sequence[bytes]) -> sets.Lines:
    """Return what was told of several test sets, if that was made of exactly the verdicts that are remembered."""
    parts = [main.told, *(one.told for one in others.values()), told]
    if not told or remembered.told_in(_together(main.place)) != [_digest_of_all(parts)]:
        return sets.Lines()
    together = list(told)
    for number, line in enumerate(main.before.lines):
        if not line:
            together.insert(number, b"")
    if len(together) != len(main.before.lines):
        return sets.Lines()
    return sets.Lines(main.before.lines, {name: one.before.lines for name, one in others.items()}, together)


def _digest_of_all(told: Iterable[Sequence[bytes]]) -> bytes:
    digests = (hashlib.sha256(b",\n".join(lines)).digest() for lines in told)
    return hashlib.sha256(b"".join(digests)).hexdigest().encode("ascii")


def _together(place: Path) -> Path:
    """Return where it is noted from which verdicts of the test sets those in verdicts.json were made."""
    return place.with_name(f"{place.name}.together")


def _beside(place: Path) -> Path:
    """Return where the verdicts of one of several test sets are kept."""
    return place.with_name(f"{place.name}.told")


def _rest(judged: Judgement, runs: Table) -> dict[str, Any]:
    again = judged.next_retraining
    own = runs.find(again.run) if again else None
    if own and own.imported:
        again = None  # this machine may have nothing that the old commit needs
    count = 1 + runs.again.column("sha").count(again.sha) if again else 0
    return {
        "events": as_json(judged.events),
        "retraining": again
        and {"sha": again.sha, "rerun_of": again.run, "seed": seed(again.sha, count), "reason": again.why},
        "gaps": as_json(judged.gaps),
        "marks": as_json(judged.marks),
        "notes": list(judged.notes),
    }


def _terms(places: Places, wanted: Retraining, ordered: Ordered) -> Terms:
    accepted = _acceptances(decision_files.accepted(places.requests), ordered)
    return Terms(Rules(budget=wanted.budget, retrain=wanted.mode != "off"), accepted)


def _acceptances(decisions: Sequence[Decision], ordered: Ordered) -> tuple[Acceptance, ...]:
    """Return what people accept, each from the merge on that was the newest one measured by then."""
    if not decisions:
        return ()
    fields = zip(ordered.runs.columns("rerun_of", "finished_at"), ordered.places, strict=True)
    ended = [(time, place) for (of, end), place in fields if of is None and (time := _time(end))]
    found = set()
    for decision in decisions:
        at = _time(decision.at)
        found.add(Acceptance(decision.sha, max((place for end, place in ended if at and end <= at), default=-1)))
    return tuple(sorted(found))


def _time(text: str) -> datetime | None:
    """Return a time; None for text that is no time."""
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        return None


def _digest_of(terms: Terms, test_set: str | None) -> str:
    """Return a digest of the terms and of the code that judges by them."""
    package = Path(__file__).parents[1]
    modules = [*(package / "verdicts").glob("*.py"), *(package / name for name in _CODE)]
    try:
        stamps = sorted((path.name, status.st_size, status.st_mtime_ns) for path in modules if (status := path.stat()))
    except OSError:  # installed in an archive
        stamps = []
    return standing.digest([stamps, __version__, repr(terms), test_set])


def _told(path: Path) -> Told:
    try:
        return standing.by_lines(path)
    except OSError:
        return Told()


def _states_of_lines(lines: Iterable[bytes]) -> dict[str, str] | None:
    """Return the verdict of each merge; None if the lines are damaged."""
    try:
        return {verdict["sha"]: verdict["verdict"] for verdict in map(json.loads, lines)}
    except (ValueError, RecursionError, TypeError, LookupError):
        return None


def _states(text: bytes) -> dict[str, str]:
    """Return the verdict of each merge in a verdicts.json of an earlier release; none if it is damaged or not there."""
    try:
        return {verdict["sha"]: verdict["verdict"] for verdict in json.loads(text)["verdicts"]}
    except (ValueError, RecursionError, TypeError, LookupError):
        return {}
