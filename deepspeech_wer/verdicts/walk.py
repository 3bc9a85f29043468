"""Walks one series in the order of history, as if its merges came one after the other.

Re-trainings are hidden until the plan asks for them, so a verdict does not depend on what was trained again later for
another merge, nor on when it was trained. All rates are fractions here; `wording` turns them into percentage points.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from deepspeech_wer.verdicts import accused, plan, recovery
from deepspeech_wer.verdicts.findings import Gap
from deepspeech_wer.verdicts.levels import Acceptance, Comparison, Group, Source, Step, Suspicion, View, archived
from deepspeech_wer.verdicts.plan import Rules, Target
from deepspeech_wer.verdicts.series import Draw, Entry, is_named, is_same_result
from deepspeech_wer.verdicts.window import Window


@dataclass(eq=False)
class Walk:
    """The state after some entries of a series. `feed` moves it on by one."""

    rules: Rules = field(default_factory=Rules)
    accepted: Collection[Acceptance] = ()
    source: Source = archived
    earlier: tuple[Step, ...] = ()  # regressions of earlier series that are open
    window: Window = field(default_factory=Window)
    entries: int = 0
    unmeasured: list[str] = field(default_factory=list)  # failed since the last group
    skipped: int = 0  # merges since the last group that never ran
    place: int | None = None  # of the last merge
    measured: str = ""  # the last merge that was measured
    suspicion: Suspicion | None = None
    ignored_seed: str | None = None  # the re-training that repeated its original, if the last one did
    steps: list[Step] = field(default_factory=list)
    pending: tuple[Group, str] | None = None  # to be trained again, and why
    retrained: int = 0
    worse_before: float = 0.0
    is_new: bool = True  # whether a suspicion may begin: one that ended waits for the next merge
    same: dict[str, str] = field(default_factory=dict)  # a merge that people accept -> the one whose result it repeats
    retold: list[Step] = field(default_factory=list)  # steps whose verdicts must be told anew
    is_at_end: bool = False  # all that people have decided by now counts

    @property
    def can_retrain(self) -> bool:
        is_on = self.rules.retrain and self.rules.budget > 0
        return is_on and self.rules.has_seed is not False and self.ignored_seed is None

    @property
    def decided(self) -> list[str]:
        """What people had accepted when the last merge had run; at the end, all that they accept."""
        place = -1 if self.place is None else self.place
        return [one.sha for one in self.accepted if self.is_at_end or place > one.after]

    def copy(self) -> Walk:
        """Return a walk that goes on by itself."""
        return replace(
            self,
            window=self.window.copy(),
            suspicion=replace(self.suspicion, touched=set(self.suspicion.touched)) if self.suspicion else None,
            pending=None,
            unmeasured=self.unmeasured[:],
            steps=self.steps[:],
            same=self.same.copy(),
            retold=self.retold[:],
        )

    def feed(self, entry: Entry) -> bool:
        """Take the next merge. Returns whether it is a new group."""
        self.entries += 1
        original, groups = entry.original, self.window.groups
        self.skipped += 0 if self.place is None else max(0, original.place - self.place - 1)
        self.place = original.place
        self._accept()
        if original.rate is None or entry.is_late:
            if original.rate is None:
                self.unmeasured.append(original.sha)
            return False
        if groups and is_same_result(original.result, groups[-1].original.result):
            is_accepted = is_named(original.sha, [one.sha for one in self.accepted])
            if is_accepted:
                self.same[original.sha] = groups[-1].sha
            if entry.fresh or original.reverts or is_accepted:
                groups[-1].entries.append(entry)
            self._calibrate(groups[-1], entry)
            self._is_measured(original)
            if self.suspicion:
                self.settle()
            return False
        self.is_new = True
        self.worse_before = self.view().seen.worse if groups else 0.0
        group = Group([entry], self.window.count, self.entries - 1, tuple(self.unmeasured), self.skipped, self.measured)
        self.window.open(group, original.rate)
        self._calibrate(group, entry)
        self.window.look_for_jump()
        self._is_measured(original)
        self.settle()
        return True

    def _is_measured(self, draw: Draw) -> None:
        self.unmeasured.clear()
        self.skipped, self.measured = 0, draw.sha

    def _calibrate(self, group: Group, entry: Entry) -> None:
        """Use the calibration runs of an entry. What they say of the noise replaces the prior; it counts once."""
        for draw in entry.fresh:
            if not draw.calibrates or draw.rate is None:
                continue
            if is_same_result(draw.result, group.original.result):
                self.ignored_seed = draw.run
            elif not any(is_same_result(draw.result, one) for one in group.digests):
                self.ignored_seed = None
                self.window.add_calibrated(group, draw, draw.rate)

    def reveal_all(self) -> None:
        """Use the re-trainings that nobody asked for, too: those that a person started, or an earlier plan."""
        found = False
        for group in self.window.groups:
            for draw in group.hidden():
                found = True
                self._use(group, draw)
        if found:
            self.settle()

    def conclude(self) -> None:
        """Use all that is known by now: what people decided, and re-trainings that nobody asked for."""
        self.is_at_end = True
        self._accept()
        self.reveal_all()
        if self.window.groups:
            self.settle()  # a state has forgotten what is pending

    def _accept(self) -> None:
        """Close the open events whose steps people accept. One that has recovered stays as it is."""
        for number, step in enumerate(self.steps):
            if step.state == "open" and accused.is_step_accepted(step, self.same, self.decided):
                self.steps[number] = step._replace(state="accepted", digests=())
                self.retold.append(self.steps[number])

    def settle(self) -> None:
        """Decide until nothing more can be decided, or a re-training is needed that does not exist yet."""
        self.pending = None
        while target := self._decide():
            group = self.window.groups[target.group]
            draw = self.source(group)
            if draw is None:
                self.pending = (group, target.why)
                return
            self._reveal(group, draw)

    def view(self) -> View:
        """Return the window as the model sees it."""
        return self.window.view()

    def quiet(self, number: int) -> Comparison | None:
        """Compare a group of the window with the level before it; None for the first of a level."""
        return self.window.quiet(number)

    def suspected(self) -> Step | None:
        """Return the step that is suspected now."""
        if self.suspicion is None:
            return None
        seen = self.view().seen
        if seen.worse <= seen.better:  # a jump down among the first runs
            return None
        return self._step("suspect", plan.best(seen.up), seen.worse)._replace(state="suspect")

    def open_gaps(self) -> tuple[Gap, ...]:
        """Return the gaps in which the culprit of the open regression may lie: training one of them tells most."""
        if self.suspicion:
            step = self.suspected()
            return step.gaps if step and step.probability > self.rules.sure else ()
        event = self._open_event()
        return event.gaps if event else ()

    def give_up(self) -> None:
        """End the series: what is still suspected stays open to doubt."""
        self.pending = None
        if self.suspicion:
            step = self.suspected()
            if step:
                self.steps.append(step._replace(kind="cannot tell", state="cannot tell"))
            self.suspicion = None

    def _reveal(self, group: Group, draw: Draw) -> None:
        """Use a re-training that the plan asked for."""
        if self.suspicion:
            self.suspicion.retrained += 1
            self.suspicion.touched.add(group.number)
        self._use(group, draw)

    def _use(self, group: Group, draw: Draw) -> None:
        group.taken += 1
        self.retrained += 1
        if draw.rate is None:
            group.failed += 1
            return
        if is_same_result(draw.result, group.original.result):
            self.ignored_seed = draw.run
        elif not any(is_same_result(draw.result, one) for one in group.digests):
            self.ignored_seed = None
            self.window.add_fresh(group, draw, draw.rate)

    def _decide(self) -> Target | None:
        while True:
            if self._recover() or self._recover_earlier():
                continue
            early = accused.early_target(self.window) if self.can_retrain and self._has_budget() else None
            if early is not None:
                self._suspect()
                return early
            if self._improve() or self._regress():
                continue
            seen = self.view().seen
            self._move_suspicion()
            if self.suspicion is None:
                return None
            if seen.worse < max(plan.DISMISS, min(plan.DISMISS_AT_MOST, self.suspicion.worse_before)):
                self._close("dismissed")
                return None
            if self.can_retrain and not self._has_budget():
                self._close("cannot tell")
                return None
            target, groups = self._next(), self.window.groups
            if target is None or not groups[target.group].is_given_up:
                return target
            if not groups[-1].is_given_up:
                return Target(len(groups) - 1, f"as the re-trainings of {groups[target.group].sha[:8]} failed")
            self._close("cannot tell", failed=groups[target.group].sha)
            return None

    def _move_suspicion(self) -> None:
        """Open a suspicion, or begin it anew where the step is later than everything that was trained again for it."""
        seen = self.view().seen
        if self.suspicion and self.suspicion.touched:
            likely = self.window.groups[plan.best(seen.up)].number
            if likely > max(self.suspicion.touched) and seen.worse > plan.SUSPECT:
                self._close("dismissed")
        if self.suspicion is None and seen.worse > plan.SUSPECT and self.is_new:
            self._suspect()

    def _next(self) -> Target | None:
        if not self.can_retrain or not self._has_budget():
            return None
        fresh, view = [group.trained_again for group in self.window.groups], self.view()
        return plan.next_target(view.seen, view.clean, fresh, self.rules.sure)

    def _suspect(self) -> None:
        if self.suspicion is None:
            self.suspicion = Suspicion(self.window.groups[-1].sha, self.worse_before)

    def _has_budget(self) -> bool:
        return self.suspicion is None or self.suspicion.retrained < self.rules.budget

    def _recover(self) -> bool:
        """Close the newest open regression if its level is back; a new level begins there.

        One merge may end several of them. The next one is looked at when the new level has begun.
        """
        event = self._open_event()
        if event is None:
            return False
        last, first = self.steps[-1], self.window.groups[0]
        is_down = last.kind in ("better", "recovered") and last.sha == first.sha
        if is_down and recovery.is_long_back(self.window, event):
            self.steps[self.steps.index(event)] = event._replace(state="recovered", closed_by=first.sha, digests=())
            return True
        back = recovery.find(self.window, event)
        if back is None:
            return False
        self._close_event(event, *back)
        return True

    def _recover_earlier(self) -> bool:
        """Tell that a merge reverts a regression of an earlier series, which whoever holds it then closes."""
        for event in self.earlier:
            back = recovery.find_linked(self.window, event)
            if back:
                c, probability = back
                self.earlier = tuple(one for one in self.earlier if one is not event)
                self._restart(c, self._step("recovered", c, probability)._replace(state="closed", reverts=event.sha))
                return True
        return False

    def _improve(self) -> bool:
        seen = self.view().seen
        if seen.better <= plan.IMPROVED:
            return False
        c, groups = plan.best(seen.down), self.window.groups
        if not self.can_retrain and groups[c].number in self.window.early and len(groups) - c < 3:
            return False
        step, event = self._step("better", c, seen.better), self._open_event()
        if event and recovery.is_ended_by(self.window, event, step, c):
            self._close_event(event, c, seen.better)
            return True
        self._restart(c, step._replace(state="closed"))
        return True

    def _regress(self) -> bool:
        seen = self.view().seen
        if seen.worse <= plan.SUSPECT:
            return False
        c = plan.best(seen.up)
        if accused.is_accepted(self.window, c, self.decided):
            self._restart(c, self._step("worse", c, seen.worse)._replace(state="accepted"))
            return True
        is_certain = seen.worse > self.rules.sure_untrained and len(self.window.groups) - 1 - c >= 2
        if self.can_retrain and not (self.window.groups[c].is_given_up and is_certain):
            is_exact = seen.up[c] > plan.EXACT * seen.worse
            is_confirmed = accused.is_confirmed(self.window, c)
            if not (seen.worse > self.rules.sure and (is_exact or not self._has_budget()) and is_confirmed):
                return False
        elif not is_certain:
            return False
        step = self._step("worse", c, seen.worse)
        if accused.is_step_accepted(step, self.same, self.decided):
            step = step._replace(state="accepted")
        self._restart(c, step)
        return True

    def _step(self, kind: str, c: int, probability: float) -> Step:
        step = accused.step(self.window, kind, c, probability)
        doubt = self.suspicion
        raised, retrained = (doubt.raised, doubt.retrained) if doubt else (step.sha, 0)
        return step._replace(seen=self.entries - 1, raised=raised, retrained=retrained)

    def _restart(self, c: int, step: Step) -> None:
        """A new level begins at group `c` of the window."""
        self.steps.append(step)
        self.window.restart(c)
        self.suspicion = None

    def _close(self, kind: str, *, failed: str = "") -> None:
        """End a suspicion without a regression. The fresh draws stay. `failed`: the merge whose re-trainings failed."""
        suspicion, self.suspicion = self.suspicion, None
        if suspicion is None:
            return
        seen = self.view().seen
        c = plan.best(seen.up)
        if (suspicion.retrained or kind == "cannot tell") and seen.up[c] > 0:
            step = self._step(kind, c, seen.worse)
            told = [(one.sha, one.failed) for one in self.steps[-1:]]
            if not failed or (step.sha, failed) not in told:  # said once, not again at each merge
                doubt = step._replace(state=kind, raised=suspicion.raised, retrained=suspicion.retrained)
                self.steps.append(doubt._replace(failed=failed))
        raised = {group.number for group in self.window.groups if group.sha == suspicion.raised}
        self.window.refreshed |= suspicion.touched | raised
        self.is_new = False

    def _open_event(self) -> Step | None:
        return next((step for step in reversed(self.steps) if step.state == "open"), None)

    def _close_event(self, event: Step, c: int, probability: float) -> None:
        step, reverted = self._step("recovered", c, probability), recovery.reverted(self.window, event, c)
        sha = self.window.groups[c].sha
        self.steps[self.steps.index(event)] = event._replace(state="recovered", closed_by=sha, digests=())
        self._restart(c, step._replace(state="closed", reverts=reverted))
