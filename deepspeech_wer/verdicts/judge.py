"""Judges every merge of a history. The same runs give the same verdicts, in whatever order they finished.

    judgement = judge(draws, accepted=(), rules=Rules())

A judgement has states to go on from, so that the next one looks at the newest runs alone; see `go_on`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from deepspeech_wer.verdicts import accused, noise, recovery, wording
from deepspeech_wer.verdicts.findings import Event, Gap, Mark, Retraining, Verdict
from deepspeech_wer.verdicts.levels import Acceptance, Step
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw, Piece, Split, in_order, pieces
from deepspeech_wer.verdicts.walk import Walk
from deepspeech_wer.verdicts.window import Window

REMEMBER_EVERY = 50  # entries
REMEMBERED = 6  # states: they reach back over the window, where re-trainings arrive

Telling = tuple[int, Verdict | None]  # the number of an entry, its verdict; None: its merge has a verdict already


class Terms(NamedTuple):
    """What a judgement depends on besides the runs. States made under other terms cannot be resumed."""

    rules: Rules = Rules()
    accepted: tuple[Acceptance, ...] = ()
    calibrations: tuple[noise.Calibration, ...] = ()


@dataclass
class Progress:
    """The state after some runs."""

    draws: int = 0  # so many
    reach: int = 0  # it depends on so many: those that follow show whether a run is late
    entries: int = 0
    place: int | None = None  # of the last merge
    split: Split = field(default_factory=Split)
    walk: Walk | None = None
    offset: int = 0  # entries before the series
    machine: str = ""
    steps_seen: int = 0
    finished: list[Step] = field(default_factory=list)  # of earlier series
    marks: list[Mark] = field(default_factory=list)

    def copy(self) -> Progress:
        """Return a state that goes on by itself."""
        walk = self.walk.copy() if self.walk else None
        return replace(self, walk=walk, finished=self.finished[:], marks=self.marks[:])


class Cut(NamedTuple):
    """A state to go on from."""

    progress: Progress
    told: int  # how much of the journal was told by then
    is_regular: bool  # False: it is of use only while it is the newest


@dataclass(frozen=True)
class Judgement:
    """The verdicts in the order of history, and what follows from them."""

    verdicts: tuple[Verdict, ...]  # of the runs judged
    events: tuple[Event, ...]
    next_retraining: Retraining | None
    notes: tuple[str, ...]
    marks: tuple[Mark, ...]
    sigma: noise.Estimate | None  # of the newest series, as a fraction
    gaps: tuple[Gap, ...] = ()  # merges that never ran, where training one would tell most
    journal: tuple[Telling, ...] = field(
        default=(), compare=False, repr=False
    )  # every verdict told; the last one holds
    cuts: tuple[Cut, ...] = field(default=(), compare=False, repr=False)  # oldest first


def judge(
    draws: Iterable[Draw],
    *,
    accepted: Collection[str | Acceptance] = (),
    rules: Rules | None = None,
    calibrations: Sequence[noise.Calibration] = (),
) -> Judgement:
    """Judge all merges, whatever the order of their runs. `accepted` and the rest: see Terms.

    A SHA in `accepted` was accepted before anything ran.

    Raises ValueError if two runs have the same id.
    """
    decided = tuple(one if isinstance(one, Acceptance) else Acceptance(one) for one in accepted)
    return go_on(Progress(), in_order(draws), Terms(rules or Rules(), decided, tuple(calibrations)))


def go_on(progress: Progress, draws: Sequence[Draw], terms: Terms) -> Judgement:
    """Judge the runs, `in_order`, that follow those of a state of the same terms, which is left as it is.

    The journal then also has what they say of earlier merges.
    """
    return _Judge(progress, terms).judge(draws)


class _Judge:
    def __init__(self, progress: Progress, terms: Terms) -> None:
        self.start, self.state, self.terms = progress, progress.copy(), terms
        if self.state.walk:
            self.state.walk.rules, self.state.walk.accepted = terms.rules, terms.accepted
        self.journal: list[Telling] = []
        self.silent: set[int] = set()

    def judge(self, draws: Sequence[Draw]) -> Judgement:
        state = self.state
        cuts: list[Cut] = []
        regular = state.entries // REMEMBER_EVERY
        for piece in pieces(draws, state.split):
            self._feed(piece)
            if piece.is_whole and state.entries // REMEMBER_EVERY > regular:
                regular = state.entries // REMEMBER_EVERY
                cuts = [*cuts[1 - REMEMBERED :], Cut(state.copy(), len(self.journal), is_regular=True)]
        if draws and not (cuts and cuts[-1].progress.draws == state.draws):
            cuts.append(Cut(state.copy(), len(self.journal), is_regular=False))
        return self._conclude(tuple(cuts))

    def _tell(self, entry: int, verdict: Verdict | None) -> None:
        if verdict is None:
            self.silent.add(entry)
        if verdict is None or entry not in self.silent:
            self.journal.append((entry, verdict))

    def _feed(self, piece: Piece) -> None:
        """Judge one more merge; note what it says of earlier ones."""
        state, entry, draw = self.state, piece.entry, piece.entry.original
        before, number = state.split, state.entries
        walk = self._begin_series(piece) if piece.split.series != before.series else state.walk
        if walk is None:
            raise ValueError("no series was begun")
        if piece.split != before:
            walk.window.calibrate(self._calibrated(piece.split))
        if not entry.is_late and draw.rate is not None:
            if draw.machine != state.machine:
                state.marks.append(Mark(draw.run, draw.sha, f"other machine: {draw.machine}", is_new_series=False))
            state.machine = draw.machine
        walk.earlier = self._open_earlier()
        is_group = walk.feed(entry)
        if draw.rate is None:
            verdict = wording.failed(draw)
        elif entry.is_late:
            verdict = wording.late(draw)
        elif is_group:
            verdict = wording.quiet(walk, len(walk.window.groups) - 1, piece.split.why)
        else:
            verdict = wording.unchanged(walk, draw)
        self._tell(number, None if draw.place == state.place else verdict)
        state.entries, state.place, state.split = number + 1, draw.place, piece.split
        state.draws = self.start.draws + piece.used
        state.reach = max(state.reach, self.start.draws + piece.reach)
        self._note_steps(walk)

    def _begin_series(self, piece: Piece) -> Walk:
        state, first = self.state, piece.entry.original
        if state.walk:  # nothing more can be trained for the one before
            state.walk.reveal_all()
            state.walk.give_up()
            self._note_steps(state.walk)
            same = state.walk.same
            state.finished += [
                step._replace(
                    entry=state.offset + step.entry,
                    same=tuple(sha for sha, first in same.items() if first == step.sha),
                )
                for step in state.walk.steps
            ]
        window = Window(self._calibrated(piece.split))
        state.walk = Walk(self.terms.rules, self.terms.accepted, window=window)
        state.offset, state.steps_seen, state.machine = state.entries, 0, first.machine
        if piece.split.why:
            state.marks.append(Mark(first.run, first.sha, piece.split.why, is_new_series=True))
        return state.walk

    def _calibrated(self, split: Split) -> noise.Estimate | None:
        return noise.calibrated(self.terms.calibrations, split.signature, split.variables)

    def _note_steps(self, walk: Walk) -> None:
        """Write down the verdicts that the newest steps, re-trainings and decisions give to earlier merges."""
        self._accept_finished(walk.decided)
        for step in walk.retold:
            self._tell(self.state.offset + step.entry, wording.of_step(step))
        walk.retold.clear()
        offset = self.state.offset
        if walk.window.refreshed:
            for number, group in enumerate(walk.window.groups):
                if group.number in walk.window.refreshed and number:
                    self._tell(offset + group.first, wording.quiet(walk, number))
            walk.window.refreshed.clear()
        for step in walk.steps[self.state.steps_seen :]:
            if step.kind == "dismissed":
                continue
            self._tell(offset + step.entry, wording.of_step(self._ending_earlier(step)))
            if step.kind == "worse":
                for sha, chance in step.culprits:
                    other = step.entries.get(sha)
                    if sha != step.sha and other is not None:
                        self._tell(offset + other, wording.of_range(step, sha, step.runs[sha], chance))
        self.state.steps_seen = len(walk.steps)

    def _open_earlier(self) -> tuple[Step, ...]:
        return tuple(event for event in self.state.finished if event.kind == "worse" and event.state == "open")

    def _accept_finished(self, decided: Collection[str]) -> None:
        """Close what people accept in earlier series."""
        finished = self.state.finished
        for number, event in enumerate(finished):
            if event.state == "open" and accused.is_step_accepted(event, {}, decided):
                finished[number] = event._replace(state="accepted", digests=())
                self._tell(event.entry, wording.of_step(finished[number]))

    def _ending_earlier(self, step: Step) -> Step:
        """Close what a step down reverts in earlier series; return the step as it is to be told.

        The levels of two series are not comparable. A fall as large as the rise, at the merge that reverts it, is.
        """
        finished = self.state.finished
        for number, event in enumerate(finished):
            is_open = event.kind == "worse" and event.state == "open" and step.kind in ("better", "recovered")
            if is_open and recovery.undoes(step, event):
                finished[number] = event._replace(state="recovered", closed_by=step.sha, digests=())
                step = step._replace(kind="recovered", reverts=event.sha)
        return step

    def _conclude(self, cuts: tuple[Cut, ...]) -> Judgement:
        """Use what is known by now: re-trainings that nobody asked for, and the suspicion that is open."""
        state, walk = self.state, self.state.walk
        if walk is None:
            return Judgement((), (), None, (), (), None)
        walk.earlier = self._open_earlier()
        walk.conclude()
        self._note_steps(walk)
        for number, verdict in wording.suspects(walk):
            self._tell(state.offset + number, verdict)
        pending, notes = None, []
        if walk.pending:
            group, why = walk.pending
            pending = Retraining(group.sha, group.original.run, why)
        if walk.ignored_seed:
            notes.append(
                f"the job ignores its seed: re-training {walk.ignored_seed} repeats its merge's result; "
                "verdicts are made without re-training"
            )
        told = [step for step in (*state.finished, *walk.steps, walk.suspected()) if step]
        last = dict(self.journal)
        return Judgement(
            tuple(verdict for _, verdict in sorted(last.items()) if verdict),
            tuple(wording.events([step for step in told if step.kind in wording.EVENTS])),
            pending,
            tuple(notes),
            tuple(state.marks),
            walk.view().sigma if walk.window.groups else None,
            walk.open_gaps(),
            tuple(self.journal),
            cuts,
        )
