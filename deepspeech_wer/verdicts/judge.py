"""Judges every merge of a history. The same runs give the same verdicts, in whatever order they finished.

    judgement = judge(draws, accepted=(), rules=Rules())

A judgement remembers states of the walk, so that the next one, with `known`, looks at the new runs alone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from deepspeech_wer.verdicts import noise
from deepspeech_wer.verdicts.levels import Comparison, Step
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw, Entry, Series, in_order, split_ordered
from deepspeech_wer.verdicts.walk import ENOUGH, Walk

UNCHANGED, NO_CHANGE, SUSPECT = "unchanged", "no change seen", "suspect"
WORSE, BETTER, RECOVERED = "worse", "better", "recovered"
CANNOT_TELL, TOO_FEW, NOT_COMPARABLE, FAILED = "cannot tell", "too few runs", "not comparable", "failed"

REMEMBER_EVERY = 50  # entries
REMEMBERED = 6  # states: they reach back over the window, where re-trainings arrive
VERSION = "verdicts@1"  # of the rules; part of what must be equal for a state to be used


@dataclass(frozen=True)
class Verdict:
    """What is known of a merge. A field that does not apply is None."""

    sha: str
    run: str
    verdict: str
    reason: str  # one line
    effect_pp: float | None = None  # against the level before it, in percentage points
    interval_pp: tuple[float, float] | None = None  # of 95 %
    sigma_pp: float | None = None  # the noise of one training
    sigma_df: float | None = None
    mde_pp: float | None = None  # the effect that is found within 5 merges in 80 % of cases
    p: float | None = None  # that this merge made it worse
    culprits: tuple[str, ...] = ()
    retrained: int = 0


@dataclass(frozen=True)
class Event:
    """A step, told once. Its id stays the same while its state changes."""

    id: str  # from the merge at which it was first seen
    start: str  # the most likely culprit
    culprits: tuple[tuple[str, float], ...]  # the merges that may have done it, each with its probability
    step_pp: float
    interval_pp: tuple[float, float]
    state: str  # suspect | open | accepted | recovered | dismissed | cannot tell
    closed_by: str | None
    retrained: int


@dataclass(frozen=True)
class Retraining:
    """The training that would tell most."""

    sha: str
    run: str  # the merge's own run
    why: str


@dataclass(frozen=True)
class Mark:
    """Something to draw on the line, before a run."""

    run: str
    sha: str
    text: str
    is_new_series: bool


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
        f"\0{draw.variables}\0{draw.machine}\0{draw.rerun_of}\0{draw.calibrates}\0{' '.join(draw.reverts)}"
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
        verdict = Verdict(draw.sha, draw.run, FAILED, "the run failed or was not measured")
    elif entry.is_late:
        reason = "trained later than the merges after it, under other conditions"
        verdict = Verdict(draw.sha, draw.run, NOT_COMPARABLE, reason)
    elif is_group:
        verdict = _quiet(walk, len(walk.window) - 1, series)
    else:
        verdict = _unchanged(walk, draw)
    _note_steps(state, walk)
    return verdict


def _note_steps(state: Progress, walk: Walk) -> None:
    """Write down the verdicts that the newest steps and re-trainings give to earlier merges."""
    at = {group.sha: state.offset + group.first for group in walk.window}
    for number, group in enumerate(walk.window):
        if group.number in walk.refreshed and number:
            state.changed[at[group.sha]] = _quiet(walk, number, None)
    walk.refreshed.clear()
    for step in walk.steps[state.steps_seen :]:
        if step.kind == "dismissed":
            continue
        state.changed[state.offset + step.entry] = _of_step(step)
        if step.kind == "worse":
            for sha, chance in step.culprits:
                other = step.entries.get(sha)
                if sha != step.sha and other is not None:
                    state.changed[state.offset + other] = _of_range(step, sha, step.runs[sha], chance)
    state.steps_seen = len(walk.steps)


def _unchanged(walk: Walk, draw: Draw) -> Verdict:
    group, sigma = walk.window[-1], walk.view().sigma
    reason = f"the result is that of {group.sha[:8]}, to the digit: this merge changed nothing"
    return Verdict(
        draw.sha, draw.run, UNCHANGED, reason, 0.0, (0.0, 0.0), _pp(sigma.sigma), round(sigma.degrees, 1), p=0.0
    )


def _quiet(walk: Walk, number: int, series: Series | None) -> Verdict:
    """Return the verdict of a group in the window that is no step."""
    group, view = walk.window[number], walk.view()
    compared = walk.quiet(number)
    sigma_pp, degrees = _pp(view.sigma.sigma), round(view.sigma.degrees, 1)
    plain = Verdict(group.sha, group.original.run, TOO_FEW, "", sigma_pp=sigma_pp, sigma_df=degrees)
    if compared is None:
        if series and series.why:
            return replace(plain, verdict=NOT_COMPARABLE, reason=f"the first of a new series: {series.why}")
        return replace(plain, reason="the first run: nothing to compare it with")
    plain = replace(
        plain,
        effect_pp=_pp(compared.effect),
        interval_pp=(_pp(compared.low), _pp(compared.high)),
        mde_pp=_pp(compared.detectable),
        p=round(view.seen.up[number], 6),
        retrained=group.taken,
    )
    if not walk.has_enough(number + 1):
        reason = f"{_effect(compared)} against {number} earlier: {ENOUGH} different results are needed"
        return replace(plain, reason=reason)
    again = f"trained again {_times(group.taken)}; " if group.taken else ""
    same = ""
    if group.repeats is not None:
        same = "the result of an earlier merge again, to the digit; "
    reason = (
        f"{same}{again}{_effect(compared)}; a step of {_pp(compared.detectable):.2g} pp would be found within 5 merges"
    )
    return replace(plain, verdict=NO_CHANGE, reason=reason)


def _of_step(step: Step) -> Verdict:
    size, again = _effect(step.compared), f" after {step.retrained} re-trainings" if step.retrained else ""
    if step.kind == "worse":
        verdict, reason = WORSE, f"{size}{again}"
        if len(step.culprits) > 1:
            reason += f"; one of {len(step.culprits)} merges, this one most likely"
        if step.state == "accepted":
            reason += "; accepted"
    elif step.kind == "better":
        verdict, reason = BETTER, f"{size}{again}"
    elif step.kind == "recovered":
        verdict, reason = RECOVERED, f"{size}: the level is back"
        if step.reverts:
            reason += f", as {step.reverts[:8]} is reverted"
    else:
        verdict = CANNOT_TELL
        reason = f"{size}{again}: no step can be shown, and none up to {_pp(step.compared.high):.2g} pp excluded"
    shown = tuple(sha for sha, _ in step.culprits) if step.kind in ("worse", "cannot tell", "suspect") else ()
    return Verdict(
        step.sha,
        step.run,
        verdict,
        reason,
        _pp(step.compared.effect),
        (_pp(step.compared.low), _pp(step.compared.high)),
        _pp(step.sigma.sigma),
        round(step.sigma.degrees, 1),
        _pp(step.compared.detectable),
        round(step.probability, 6) if shown else 0.0,
        shown,
        step.retrained,
    )


def _of_range(step: Step, sha: str, run: str, chance: float) -> Verdict:
    """Return the verdict of a merge that may have done it, though another is more likely."""
    reason = f"{_effect(step.compared)} from one of {len(step.culprits)} merges; {step.sha[:8]} is more likely"
    probability = round(chance * step.probability, 6)
    return replace(_of_step(step), sha=sha, run=run, verdict=CANNOT_TELL, reason=reason, p=probability)


def _conclude(state: Progress, first: Sequence[Verdict | None], known: Known) -> Judgement:
    """Use what is known by now: re-trainings that nobody asked for, and the suspicion that is open."""
    walk = state.walk
    if walk is None:
        return Judgement((), (), None, (), (), None, known)
    walk.reveal_all()
    _note_steps(state, walk)
    verdicts = dict(enumerate(first))
    verdicts.update((number, verdict) for number, verdict in state.changed.items() if verdicts.get(number))
    for number, verdict in _suspects(walk):
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
    told = [step for step in (*state.finished, *walk.steps, walk.suspected()) if step and step.kind in EVENTS]
    return Judgement(
        tuple(verdict for verdict in verdicts.values() if verdict),
        tuple(_events(told)),
        pending,
        tuple(notes),
        tuple(state.marks),
        walk.view().sigma if walk.window else None,
        known,
    )


def _suspects(walk: Walk) -> Iterator[tuple[int, Verdict]]:
    """Yield (entry, verdict) of the merges that may have made it worse, while that is looked into."""
    step = walk.suspected()
    if step is None:
        return
    doing = "a re-training is due" if walk.pending else "more merges will tell"
    for sha, chance in step.culprits:
        if sha in step.entries:
            reason = f"{_effect(step.compared)}, with probability {step.probability:.2f}; {doing}"
            yield (
                step.entries[sha],
                replace(
                    _of_step(step),
                    sha=sha,
                    run=step.runs[sha],
                    verdict=SUSPECT,
                    reason=reason,
                    p=round(chance * step.probability, 6),
                ),
            )


EVENTS = ("worse", "dismissed", "cannot tell", "suspect")


def _events(told: Sequence[Step]) -> Iterator[Event]:
    seen: Counter[str] = Counter()
    for step in told:
        seen[step.raised] += 1
        again = f"-{seen[step.raised]}" if seen[step.raised] > 1 else ""
        yield _event(step, step.raised[:12] + again)


def _event(step: Step, name: str) -> Event:
    return Event(
        id=name,
        start=step.sha,
        culprits=tuple((sha, round(chance, 4)) for sha, chance in step.culprits),
        step_pp=_pp(step.compared.effect),
        interval_pp=(_pp(step.compared.low), _pp(step.compared.high)),
        state=step.state,
        closed_by=step.closed_by,
        retrained=step.retrained,
    )


def _pp(fraction: float) -> float:
    return round(100 * fraction, 4) + 0.0  # no -0.0


def _effect(compared: Comparison) -> str:
    return f"{_pp(compared.effect):+.2f} pp (95 %: {_pp(compared.low):.2f} to {_pp(compared.high):.2f})"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
