"""Walks one series in the order of history, as if its merges came one after the other.

Re-trainings are hidden until the plan asks for them, so a verdict does not depend on what was trained again later for
another merge, nor on when it was trained. All rates are fractions here; `judge` turns them into percentage points.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Collection
from dataclasses import replace
from statistics import fmean, median

from deepspeech_wer.verdicts import noise, plan, steps
from deepspeech_wer.verdicts.levels import Comparison, Group, Side, Source, Step, Suspicion, View, archived, compare
from deepspeech_wer.verdicts.plan import Rules, Target
from deepspeech_wer.verdicts.series import Draw, Entry, is_named, is_same_result

WINDOW = 100  # groups since the last step that are looked at
DIFFERENCES = 100
ENOUGH = 4  # groups before the posterior decides
JUMP = 4 * math.sqrt(2)  # sigmas between two of the first runs: investigated
REPLICATED = 50  # groups whose re-trainings are remembered for the noise
LINKED = 0.9  # prior that a merge which says that it reverts the culprit brings the level back
BACK = 2.0  # standard deviations within which an improved level is the one before the regression
BACK_LINKED = 3.5  # the same for a merge that says it reverts the culprit
RECENT = 10  # groups among which a recovery is looked for


class Walk:
    """The state after some entries of a series. `feed` moves it on by one."""

    def __init__(
        self,
        rules: Rules,
        *,
        accepted: Collection[str] = (),
        calibrated: noise.Estimate | None = None,
        source: Source = archived,
    ) -> None:
        self.rules, self.accepted, self.calibrated, self.source = rules, accepted, calibrated, source
        self.window: list[Group] = []
        self.groups = 0  # of the series so far
        self.entries = 0
        self.is_first_window = True
        self.unmeasured: list[str] = []
        self.differences: deque[tuple[int, float]] = deque(
            maxlen=DIFFERENCES
        )  # (number of the later group, difference)
        self.replicates: dict[int, tuple[float, int]] = {}  # group number -> sum of squares, degrees
        self.early: set[int] = set()  # numbers of groups at which the first runs jumped
        self.suspicion: Suspicion | None = None
        self.ignored_seed: str | None = None  # the re-training that repeated its original, if the last one did
        self.steps: list[Step] = []
        self.pending: tuple[Group, str] | None = None
        self.retrained = 0
        self.refreshed: set[int] = set()  # numbers of groups whose verdicts must be made anew
        self.worse_before = 0.0
        self.is_new = True  # whether a suspicion may begin: one that ended waits for the next merge
        self._view: View | None = None

    @property
    def can_retrain(self) -> bool:
        is_on = self.rules.retrain and self.rules.budget > 0
        return is_on and self.rules.has_seed is not False and self.ignored_seed is None

    def copy(self) -> Walk:
        """Return a walk that goes on by itself."""
        other = copy.copy(self)
        other.window = [replace(g, entries=g.entries[:], draws=g.draws[:], digests=g.digests[:]) for g in self.window]
        other.differences = self.differences.copy()
        other.suspicion = replace(self.suspicion, touched=set(self.suspicion.touched)) if self.suspicion else None
        other.pending = None
        for name in ("unmeasured", "replicates", "early", "steps", "refreshed"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def feed(self, entry: Entry) -> bool:
        """Take the next merge. Returns whether it is a new group."""
        self.entries += 1
        original = entry.original
        if original.rate is None or entry.is_late:
            if original.rate is None:
                self.unmeasured.append(original.sha)
            return False
        if self.window and is_same_result(original, self.window[-1].original):
            self.window[-1].entries.append(entry)
            self.unmeasured.clear()
            if self.suspicion:
                self.settle()
            return False
        self.is_new = True
        self.worse_before = self.view().seen.worse if self.window else 0.0
        self._open_group(entry, original.rate)
        self.settle()
        return True

    def reveal_all(self) -> None:
        """Use the re-trainings that nobody asked for, too: those that a person started, or an earlier plan."""
        found = False
        for group in self.window:
            for draw in group.hidden():
                found = True
                self._reveal(group, draw)
        if found:
            self.settle()

    def settle(self) -> None:
        """Decide until nothing more can be decided, or a re-training is needed that does not exist yet."""
        self.pending = None
        while target := self._decide():
            group = self.window[target.group]
            draw = self.source(group)
            if draw is None:
                self.pending = (group, target.why)
                return
            self._reveal(group, draw)

    def _open_group(self, entry: Entry, rate: float) -> None:
        group = Group([entry], self.groups, self.entries - 1, tuple(self.unmeasured))
        self.unmeasured.clear()
        if self.window:
            self.differences.append((self.groups, abs(rate - (self.window[-1].original.rate or 0.0))))
        same = next(
            (old for old in self.window if any(is_same_result(entry.original, one) for one in old.digests)), None
        )
        group.digests.append(entry.original)
        if same is None:
            group.draws.append(rate)
        else:
            group.repeats = same.number
        self.window.append(group)
        self._view = None
        self.groups += 1
        del self.window[: max(0, len(self.window) - WINDOW)]
        if 1 < len(self.window) < ENOUGH:
            self._look_for_jump()

    def _look_for_jump(self) -> None:
        before, newest = self.window[-2:]
        if before.draws and newest.draws:
            jump = abs(newest.draws[0] - fmean(steps.unbroken(before.draws, self.sigma().sigma)))
            if jump > JUMP * self.sigma().sigma:
                self.early.add(newest.number)

    def _reveal(self, group: Group, draw: Draw) -> None:
        group.taken += 1
        self.retrained += 1
        self._view = None
        if self.suspicion:
            self.suspicion.retrained += 1
            self.suspicion.touched.add(group.number)
        if draw.rate is None:
            return
        if is_same_result(draw, group.original):
            self.ignored_seed = draw.run
            return
        if any(is_same_result(draw, one) for one in group.digests):
            return
        self.ignored_seed = None
        group.fresh += 1
        group.draws.append(draw.rate)
        group.digests.append(draw)
        self.refreshed.add(group.number)
        # The original is left out: it was noticed because it was extreme.
        fresh = steps.unbroken(group.draws[-group.fresh :], self.sigma().sigma)
        if len(fresh) > 1:
            mean = fmean(fresh)
            self.replicates[group.number] = (math.fsum((x - mean) ** 2 for x in fresh), len(fresh) - 1)
            while len(self.replicates) > REPLICATED:
                del self.replicates[min(self.replicates)]

    def sigma(self) -> noise.Estimate:
        """Return the noise of one training."""
        rates = [draw for group in self.window for draw in group.draws[:1]]
        first = self.calibrated or noise.prior(median(rates), self.window[-1].original.words)
        degrees = sum(count for _, count in self.replicates.values())
        squares = math.fsum(square for square, _ in self.replicates.values())
        repeated = noise.Estimate(math.sqrt(squares / degrees), degrees) if degrees else None
        return noise.pooled(first, noise.from_differences([size for _, size in self.differences]), repeated)

    def view(self) -> View:
        """Return the window as the model sees it."""
        if self._view is None:
            sigma = self.sigma()
            clean = steps.clean([group.draws for group in self.window], sigma.sigma)
            early = {number for number, group in enumerate(self.window) if group.number in self.early}
            if self.is_first_window and len(self.window) < ENOUGH and not early:
                seen = steps.Posterior((0.0,) * len(clean), (0.0,) * len(clean))
            else:
                seen = steps.posterior(clean, sigma.sigma, early)
            self._view = View(sigma, clean, seen)
        return self._view

    def quiet(self, number: int) -> Comparison | None:
        """Compare a group of the window with the level before it; None for the first of a level."""
        if number == 0:
            return None
        view = self.view()
        before, own = self.side(view, 0, number), self.side(view, number, number + 1)
        return compare(before, own, view.sigma)

    def _decide(self) -> Target | None:
        while True:
            view = self.view()
            if self._recover(view):
                continue
            early = self._early_target()
            if early is not None:
                self._suspect()
                return early
            if self._improve(view) or self._regress(view):
                continue
            self._move_suspicion(view)
            if self.suspicion is None:
                return None
            if view.seen.worse < max(plan.DISMISS, min(plan.DISMISS_AT_MOST, self.suspicion.worse_before)):
                self._close("dismissed", view)
                return None
            if self.can_retrain and not self._has_budget():
                self._close("cannot tell", view)
                return None
            return self._next(view)

    def suspected(self) -> Step | None:
        """Return the step that is suspected now."""
        if self.suspicion is None:
            return None
        view = self.view()
        if view.seen.worse <= view.seen.better:  # a jump down among the first runs
            return None
        c = plan.best(view.seen.up)
        return replace(self._step("suspect", view, c, view.seen.worse), state="suspect")

    def give_up(self) -> None:
        """End the series: what is still suspected stays open to doubt."""
        self.pending = None
        if self.suspicion:
            step = self.suspected()
            if step:
                self.steps.append(replace(step, kind="cannot tell", state="cannot tell"))
            self.suspicion = None

    def _move_suspicion(self, view: View) -> None:
        """Open a suspicion, or begin it anew where the step is later than everything that was trained again for it."""
        if self.suspicion and self.suspicion.touched:
            likely = self.window[plan.best(view.seen.up)].number
            if likely > max(self.suspicion.touched) and view.seen.worse > plan.SUSPECT:
                self._close("dismissed", view)
        if self.suspicion is None and view.seen.worse > plan.SUSPECT and self.is_new:
            self._suspect()

    def _next(self, view: View) -> Target | None:
        if not self.can_retrain or not self._has_budget():
            return None
        fresh = [group.taken for group in self.window]
        return plan.next_target(view.seen, view.clean, fresh, self.rules.sure)

    def _suspect(self) -> None:
        if self.suspicion is None:
            self.suspicion = Suspicion(self.window[-1].sha, self.worse_before)

    def _has_budget(self) -> bool:
        return self.suspicion is None or self.suspicion.retrained < self.rules.budget

    def _early_target(self) -> Target | None:
        """Return which side of a jump among the first runs is trained next, until both were twice."""
        if not self.can_retrain or not self._has_budget():
            return None
        taken = [group.taken for group in self.window]
        for number, group in enumerate(self.window):
            if number and group.number in self.early and min(taken[number - 1 : number + 1]) < plan.EARLY_FRESH:
                return plan.beside_parent(number, taken)
        return None

    def _improve(self, view: View) -> bool:
        if view.seen.better <= plan.IMPROVED:
            return False
        c = plan.best(view.seen.down)
        if not self.can_retrain and self.window[c].number in self.early and len(self.window) - c < 3:
            return False
        step, event = self._step("better", view, c, view.seen.better), self._open_event()
        if event and step.compared.effect + step.before.mean - event.before.mean <= self._width(view, event, c):
            self._close_event(view, event, c, view.seen.better)
            return True
        self._restart(c, replace(step, state="closed"))
        return True

    def _width(self, view: View, event: Step, c: int) -> float:
        """Return how far an improved level may be above the one before an event and still be that level."""
        now, widths = self.side(view, c, len(self.window)), BACK_LINKED if self._reverted(event, c) else BACK
        return widths * view.sigma.sigma * math.sqrt(1 / now.draws + 1 / event.before.draws)

    def _regress(self, view: View) -> bool:
        seen = view.seen
        if seen.worse <= plan.SUSPECT:
            return False
        c = plan.best(seen.up)
        if self._is_accepted(c):
            self._restart(c, replace(self._step("worse", view, c, seen.worse), state="accepted"))
            return True
        if self.can_retrain:
            is_exact = seen.up[c] > plan.EXACT * seen.worse
            if not (seen.worse > self.rules.sure and (is_exact or not self._has_budget()) and self._is_confirmed(c)):
                return False
        elif not (seen.worse > self.rules.sure_untrained and len(self.window) - 1 - c >= 2):
            return False
        step = self._step("worse", view, c, seen.worse)
        if is_named(step.sha, self.accepted):
            step = replace(step, state="accepted")
        self._restart(c, step)
        return True

    def _is_confirmed(self, c: int) -> bool:
        """Whether fresh draws since the step are enough that two broken trainings cannot be the whole of it."""
        since = self.window[c:]
        return any(group.fresh for group in since) and sum(len(group.draws) for group in since) >= plan.CONFIRMED

    def _is_accepted(self, c: int) -> bool:
        return any(is_named(entry.original.sha, self.accepted) for entry in self.window[c].entries)

    def _step(self, kind: str, view: View, c: int, probability: float) -> Step:
        side = view.seen.down if kind == "better" else view.seen.up
        guilty = plan.credible(side)
        if side[c] > plan.EXACT * sum(side):
            guilty = [c]
        whole = sum(side) or 1.0
        culprits = []
        for number in guilty:
            shas = (self.window[number].sha, *self.window[number].unmeasured)
            culprits += [(sha, side[number] / whole / len(shas)) for sha in shas]
        before, after = self.side(view, 0, c), self.side(view, c, len(self.window))
        return Step(
            kind=kind,
            raised=self.suspicion.raised if self.suspicion else self.window[c].sha,
            sha=self.window[c].sha,
            run=self.window[c].original.run,
            entry=self.window[c].first,
            entries={self.window[number].sha: self.window[number].first for number in guilty},
            runs={self.window[number].sha: self.window[number].original.run for number in guilty},
            place=self.window[c].original.place,
            seen=self.entries - 1,
            culprits=tuple(culprits),
            compared=compare(before, after, view.sigma),
            sigma=view.sigma,
            probability=probability,
            retrained=self.suspicion.retrained if self.suspicion else 0,
            before=before,
            digests=tuple((one.digest, one.machine) for group in self.window[:c] for one in group.digests),
        )

    def side(self, view: View, start: int, end: int) -> Side:
        """Return the mean of the clean draws of some groups; of all draws where none is clean."""
        draws = [x for group in view.clean[start:end] for x in group]
        draws = draws or [x for group in self.window[start:end] for x in group.draws]
        draws = draws or [group.original.rate for group in self.window[start:end] if group.original.rate is not None]
        return Side(fmean(draws), len(draws))

    def _restart(self, c: int, step: Step) -> None:
        """A new level begins at group `c` of the window."""
        self.steps.append(step)
        self.window = self.window[c:]
        first = self.window[0]
        if not first.draws and first.original.rate is not None:
            first.draws, first.repeats = [first.original.rate], None
        self.refreshed |= {group.number for group in self.window[1:]}
        self.early.discard(first.number)
        for pair in [pair for pair in self.differences if pair[0] == first.number]:  # a step is no noise
            self.differences.remove(pair)
        self.is_first_window = False
        self.suspicion = self._view = None

    def _close(self, kind: str, view: View) -> None:
        """End a suspicion without a regression. The fresh draws stay."""
        suspicion, self.suspicion = self.suspicion, None
        if suspicion is None:
            return
        c = plan.best(view.seen.up)
        if (suspicion.retrained or kind == "cannot tell") and view.seen.up[c] > 0:
            step = self._step(kind, view, c, view.seen.worse)
            self.steps.append(replace(step, state=kind, raised=suspicion.raised, retrained=suspicion.retrained))
        self.refreshed |= suspicion.touched
        self.is_new = False

    def _recover(self, view: View) -> bool:
        """Close the newest open regression if its level is back; a new level begins there."""
        event = self._open_event()
        if event is None:
            return False
        # The window begins at the regression, or at a later step: that is the level to leave.
        chances = {
            c: self._back(view, event, c, is_linked=bool(self._reverted(event, c)))
            for c in range(max(1, len(self.window) - RECENT), len(self.window))
            if view.clean[c] or self.window[c].repeats is not None  # else it was left out, because it is high
        }
        c = max(chances, key=chances.__getitem__, default=0)
        if c == 0 or chances[c] <= plan.IMPROVED:
            return False
        self._close_event(view, event, c, chances[c])
        return True

    def _open_event(self) -> Step | None:
        return next((step for step in reversed(self.steps) if step.state == "open"), None)

    def _close_event(self, view: View, event: Step, c: int, probability: float) -> None:
        step = self._step("recovered", view, c, probability)
        self.steps[self.steps.index(event)] = replace(event, state="recovered", closed_by=self.window[c].sha)
        self._restart(c, replace(step, state="closed", reverts=self._reverted(event, c)))

    def _reverted(self, event: Step, c: int) -> str:
        """Return the culprit that the merges of a group say they revert; "" for none."""
        reverts = [name for entry in self.window[c].entries for name in entry.original.reverts]
        return next((sha for sha, _ in event.culprits if is_named(sha, reverts)), "")

    def _back(self, view: View, event: Step, c: int, *, is_linked: bool) -> float:
        """Return the probability that from group `c` on the level is that before the event, and not that since."""
        group = self.window[c]
        if group.original.digest and (group.original.digest, group.original.machine) in event.digests:
            return 1.0
        now, since = self.side(view, c, len(self.window)), self.side(view, 0, c)
        variance = view.sigma.sigma**2
        v_back = variance * (1 / now.draws + 1 / event.before.draws)
        v_stays = variance * (1 / now.draws + 1 / since.draws)
        above = max(0.0, now.mean - event.before.mean)  # better than before is back, too
        prior = LINKED if is_linked else steps.PRIOR
        odds = math.log(prior / (1 - prior)) + 0.5 * math.log(v_stays / v_back)
        odds += (now.mean - since.mean) ** 2 / (2 * v_stays) - above**2 / (2 * v_back)
        if now.mean >= since.mean:
            return 0.0
        return 1 / (1 + math.exp(-min(odds, 700.0))) if odds > -700 else 0.0
