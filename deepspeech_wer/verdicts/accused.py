"""Which groups of a window a step accuses, and what speaks for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from deepspeech_wer.verdicts import plan
from deepspeech_wer.verdicts.findings import Gap
from deepspeech_wer.verdicts.levels import Step, compare
from deepspeech_wer.verdicts.plan import Target
from deepspeech_wer.verdicts.series import is_named
from deepspeech_wer.verdicts.window import Window


def step(window: Window, kind: str, c: int, probability: float) -> Step:
    """Return a step at group `c`, as seen from the last entry of the window, without re-trainings of its own."""
    groups, view = window.groups, window.view()
    side = view.seen.down if kind == "better" else view.seen.up
    guilty = plan.credible(side)
    if side[c] > plan.EXACT * sum(side):
        guilty = [c]
    whole = sum(side) or 1.0
    culprits, gaps = [], []
    for number in guilty:
        group = groups[number]
        shas = (group.sha, *group.unmeasured)
        chance = side[number] / whole / (len(shas) + group.skipped)
        culprits += [(sha, chance) for sha in shas]
        if group.skipped:
            gaps.append(Gap(group.after, group.sha, group.skipped, chance))
    before, after = window.side(0, c), window.since(c)
    return Step(
        kind=kind,
        raised=groups[c].sha,
        sha=groups[c].sha,
        run=groups[c].original.run,
        entry=groups[c].first,
        entries={groups[number].sha: groups[number].first for number in guilty},
        runs={groups[number].sha: groups[number].original.run for number in guilty},
        place=groups[c].original.place,
        seen=groups[-1].first,
        culprits=tuple(culprits),
        compared=compare(before, after, view.sigma),
        sigma=view.sigma,
        probability=probability,
        retrained=0,
        before=before,
        gaps=tuple(gaps),
        named=tuple(name for entry in groups[c].entries for name in entry.original.reverts),
        digests=tuple(one for group in groups[:c] for one in group.digests) if kind == "worse" else (),
    )


def is_confirmed(window: Window, c: int) -> bool:
    """Whether fresh draws since group `c` are enough that two broken trainings cannot be the whole of it."""
    since = window.groups[c:]
    is_fresh = any(group.fresh or group.calibrated for group in since)
    return is_fresh and sum(len(group.draws) for group in since) >= plan.CONFIRMED


def is_accepted(window: Window, c: int, accepted: Collection[str]) -> bool:
    """Whether a person accepts a merge of group `c`."""
    return any(is_named(entry.original.sha, accepted) for entry in window.groups[c].entries)


def is_step_accepted(step: Step, same: Mapping[str, str], accepted: Collection[str]) -> bool:
    """Whether a person accepts a step: its merge, or one that repeats its result. `same`: that one -> the merge."""
    names = [step.sha, *step.same, *(sha for sha, first in same.items() if first == step.sha)]
    return any(is_named(name, accepted) for name in names)


def early_target(window: Window) -> Target | None:
    """Return which side of a jump among the first runs is trained next, until both were twice."""
    taken = [group.trained_again for group in window.groups]
    for number, group in enumerate(window.groups):
        is_early = number and group.number in window.early
        if is_early and min(taken[number - 1 : number + 1]) < plan.EARLY_FRESH:
            return plan.beside_parent(number, taken)
    return None
