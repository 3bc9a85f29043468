"""Judges every merge of a history. The same runs give the same verdicts, in whatever order they finished.

    judgement = judge(draws, accepted=(), rules=Rules())

A judgement remembers states of the walk, so that the next one, with `known`, looks at the new runs alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from deepspeech_wer.verdicts import noise, wording
from deepspeech_wer.verdicts.levels import Step
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw, Entry, Series, in_order, split_ordered
from deepspeech_wer.verdicts.told import Event, Mark, Retraining, Verdict
from deepspeech_wer.verdicts.walk import Walk

REMEMBER_EVERY = 50  # entries
REMEMBERED = 6  # states: they reach back over the window, where re-trainings arrive
VERSION = "verdicts@1"  # of the rules; part of what must be equal for a state to be used


@dataclass
class Progress:
    """The state after some entries."""

    count: int = 0
    fingerprint: str = ""  # of everything that led to it
    walk: Walk | None = None
    series: int = -1
    offset: int = 0  # entries before the series
    machine: str = ""
    steps_seen: int = 0
    changed: dict[int, Verdict] = field(default_factory=dict)  # entry -> verdict that later merges gave it
    finished: list[Step] = field(default_factory=list)  # of earlier series
    marks: list[Mark] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def copy(self) -> Progress:
        """Return a state that goes on by itself."""
        walk = self.walk.copy() if self.walk else None
        return replace(
            self,
            walk=walk,
            changed=self.changed.copy(),
            finished=self.finished[:],
            marks=self.marks[:],
            notes=self.notes[:],
        )


@dataclass(frozen=True)
class Known:
    """What a judgement remembers for the next one. Can be pickled."""

    first: tuple[Verdict | None, ...] = ()  # the verdict of each entry when it came; None: it has one already
    states: tuple[Progress, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """The verdicts in the order of history, and what follows from them."""

    verdicts: tuple[Verdict, ...]
    events: tuple[Event, ...]
    next_retraining: Retraining | None
    notes: tuple[str, ...]
    marks: tuple[Mark, ...]
    sigma: noise.Estimate | None  # of the newest series, as a fraction
    known: Known = field(default_factory=Known, compare=False, repr=False)


def judge(
    draws: Sequence[Draw],
    *,
    accepted: Collection[str] = (),
    rules: Rules | None = None,
    calibrations: Sequence[noise.Calibration] = (),
    known: Known | None = None,
) -> Judgement:
    """Judge all merges. `accepted` are full or abbreviated SHAs of steps that a person accepts.

    `known` is what an earlier judgement remembered; it makes this one quick, and never changes it. Raises ValueError if
    two runs have the same id.
    """
    rules = rules or Rules()
    series = split_ordered(in_order(draws))
    entries = [(number, entry) for number, one in enumerate(series) for entry in one.entries]
    seed = repr((VERSION, rules, sorted(set(accepted)), list(calibrations)))
    fingerprints = _Fingerprints(seed, series, entries)
    kept = _still_true(known, fingerprints)
    state = kept[-1].copy() if kept else Progress()
    first = list(known.first[: state.count]) if known else []
    for number, entry in entries[state.count :]:
        is_again = state.count > 0 and entries[state.count - 1][1].original.place == entry.original.place
        if number != state.series:
            _begin_series(state, number, series[number], rules, tuple(accepted), calibrations)
        verdict = _feed(state, entry, series[number])
        first.append(None if is_again else verdict)
        if state.count % REMEMBER_EVERY == 0 or state.count == len(entries):
            kept.append(replace(state.copy(), fingerprint=fingerprints.at(state.count)))
    latest, regular = kept[-1:], [one for one in kept[:-1] if one.count % REMEMBER_EVERY == 0]
    remembered = Known(tuple(first), (*regular[-REMEMBERED:], *latest))
    return _conclude(state, first, remembered)


class _Fingerprints:
    """Digests of the first so many entries."""

    def __init__(self, seed: str, series: Sequence[Series], entries: Sequence[tuple[int, Entry]]) -> None:
        self.series, self.entries = series, entries
        self._seed, self._hash, self._count = seed, hashlib.sha256(seed.encode()), 0

    def at(self, count: int) -> str:
        """Return the digest of the first `count` entries. Quick if the counts rise from call to call."""
        if count < self._count:
            self._hash, self._count = hashlib.sha256(self._seed.encode()), 0
        lines = [self._line(number, entry) for number, entry in self.entries[self._count : count]]
        self._hash.update("".join(lines).encode())
        self._count = count
        return self._hash.copy().hexdigest()

    def _line(self, number: int, entry: Entry) -> str:
        fresh = "".join(map(_key, entry.fresh)) if entry.fresh else ""
        return f"{number}{self.series[number].why}{entry.is_late}{_key(entry.original)}{fresh}\n"


def _key(draw: Draw) -> str:
    return (
        f"\0{draw.run}\0{draw.sha}\0{draw.place}\0{draw.rate}\0{draw.words}\0{draw.digest}\0{draw.signature}"
        f"\0{draw.variables}\0{draw.machine}\0{draw.rerun_of}\0{' '.join(draw.reverts)}"
    )


def _still_true(known: Known | None, fingerprints: _Fingerprints) -> list[Progress]:
    """Return the remembered states whose past is as it was."""
    kept: list[Progress] = []
    for state in known.states if known else ():
        if state.count > len(fingerprints.entries) or fingerprints.at(state.count) != state.fingerprint:
            break
        kept.append(state)
    return kept


def _begin_series(
    state: Progress,
    number: int,
    series: Series,
    rules: Rules,
    accepted: Collection[str],
    calibrations: Sequence[noise.Calibration],
) -> None:
    if state.walk:
        _end_series(state, state.walk)
    first = series.entries[0].original
    variables = next((entry.original.variables for entry in series.entries if entry.original.variables), "")
    state.walk = Walk(rules, accepted=accepted, calibrated=noise.calibrated(calibrations, first.signature, variables))
    state.series, state.offset, state.steps_seen, state.machine = number, state.count, 0, first.machine
    if series.why:
        state.marks.append(Mark(first.run, first.sha, series.why, is_new_series=True))


def _end_series(state: Progress, walk: Walk) -> None:
    """Nothing more can be trained for it."""
    walk.reveal_all()
    walk.give_up()
    _note_steps(state, walk)
    state.finished += walk.steps


def _feed(state: Progress, entry: Entry, series: Series) -> Verdict:
    """Judge one more merge; note what it says of earlier ones."""
    walk, draw = state.walk, entry.original
    if walk is None:
        raise ValueError("no series was begun")
    if not entry.is_late and draw.rate is not None:
        if draw.machine != state.machine:
            state.marks.append(Mark(draw.run, draw.sha, f"other machine: {draw.machine}", is_new_series=False))
        state.machine = draw.machine
    is_group = walk.feed(entry)
    state.count += 1
    if draw.rate is None:
        verdict = wording.failed(draw)
    elif entry.is_late:
        verdict = wording.late(draw)
    elif is_group:
        verdict = wording.quiet(walk, len(walk.window.groups) - 1, series)
    else:
        verdict = wording.unchanged(walk, draw)
    _note_steps(state, walk)
    return verdict


def _note_steps(state: Progress, walk: Walk) -> None:
    """Write down the verdicts that the newest steps and re-trainings give to earlier merges."""
    at = {group.sha: state.offset + group.first for group in walk.window.groups}
    for number, group in enumerate(walk.window.groups):
        if group.number in walk.window.refreshed and number:
            state.changed[at[group.sha]] = wording.quiet(walk, number, None)
    walk.window.refreshed.clear()
    for step in walk.steps[state.steps_seen :]:
        if step.kind == "dismissed":
            continue
        state.changed[state.offset + step.entry] = wording.of_step(step)
        if step.kind == "worse":
            for sha, chance in step.culprits:
                other = step.entries.get(sha)
                if sha != step.sha and other is not None:
                    state.changed[state.offset + other] = wording.of_range(step, sha, step.runs[sha], chance)
    state.steps_seen = len(walk.steps)


def _conclude(state: Progress, first: Sequence[Verdict | None], known: Known) -> Judgement:
    """Use what is known by now: re-trainings that nobody asked for, and the suspicion that is open."""
    walk = state.walk
    if walk is None:
        return Judgement((), (), None, (), (), None, known)
    walk.reveal_all()
    _note_steps(state, walk)
    verdicts = dict(enumerate(first))
    verdicts.update((number, verdict) for number, verdict in state.changed.items() if verdicts.get(number))
    for number, verdict in wording.suspects(walk):
        if verdicts.get(state.offset + number):
            verdicts[state.offset + number] = verdict
    pending = None
    if walk.pending:
        group, why = walk.pending
        pending = Retraining(group.sha, group.original.run, why)
    notes = list(state.notes)
    if walk.ignored_seed:
        notes.append(
            f"the job ignores its seed: re-training {walk.ignored_seed} repeats its merge's result; "
            "verdicts are made without re-training"
        )
    told = [step for step in (*state.finished, *walk.steps, walk.suspected()) if step and step.kind in wording.EVENTS]
    return Judgement(
        tuple(verdict for verdict in verdicts.values() if verdict),
        tuple(wording.events(told)),
        pending,
        tuple(notes),
        tuple(state.marks),
        walk.view().sigma if walk.window.groups else None,
        known,
    )
