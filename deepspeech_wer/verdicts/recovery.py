"""Whether the level before a regression is back."""

from __future__ import annotations

import math

from deepspeech_wer.verdicts import plan, steps
from deepspeech_wer.verdicts.levels import Comparison, Step, compare
from deepspeech_wer.verdicts.series import is_named
from deepspeech_wer.verdicts.window import Window

LINKED = 0.9  # prior that a merge which says that it reverts the culprit brings the level back
BACK = 2.0  # standard deviations within which an improved level is the one before the regression
BACK_LINKED = 3.5  # the same for a merge that says it reverts the culprit
RECENT = 10  # groups among which a recovery is looked for


def find(window: Window, event: Step) -> tuple[int, float] | None:
    """Return the group from which on the level before an event is back, and the probability; None if it is not."""
    # The window begins at the regression, or at a later step: that is the level to leave.
    view, count = window.view(), len(window.groups)
    chances = {
        c: _back(window, event, c)
        for c in range(max(1, count - RECENT), count)
        if view.clean[c] or window.groups[c].repeats is not None  # else it was left out, because it is high
    }
    c = max(chances, key=chances.__getitem__, default=0)
    return (c, chances[c]) if c and chances[c] > plan.IMPROVED else None


def is_ended_by(window: Window, event: Step, better: Step, c: int) -> bool:
    """Whether an improvement at group `c` brings the level back to that before an event, or below it."""
    now, widths = window.since(c), BACK_LINKED if reverted(window, event, c) else BACK
    width = widths * window.view().sigma.sigma * math.sqrt(1 / now.draws + 1 / event.before.draws)
    return better.compared.effect + better.before.mean - event.before.mean <= width


def is_long_back(window: Window, event: Step) -> bool:
    """Whether the step down with which the window begins ended this event, too, and not only a later one."""
    if window.groups[0].original.digest and window.groups[0].original.result in event.digests:
        return True
    now, above = window.since(0), event.before.mean + event.compared.effect
    variance = window.view().sigma.sigma ** 2 * (1 / now.draws + 1 / event.before.draws)
    too_high = max(0.0, now.mean - event.before.mean)
    odds = ((now.mean - above) ** 2 - too_high**2) / (2 * variance)
    return now.mean < above and odds > math.log(plan.IMPROVED / (1 - plan.IMPROVED))


def undoes(step: Step, event: Step) -> bool:
    """Whether a step down is at a merge that says it reverts an event, and may be as large."""
    is_linked = any(is_named(sha, step.named) for sha, _ in event.culprits)
    return is_linked and _may_undo(step.compared, event)


def _may_undo(compared: Comparison, event: Step) -> bool:
    """Whether a fall may be as large as the rise of an event."""
    return -compared.low >= event.compared.low


def find_linked(window: Window, event: Step) -> tuple[int, float] | None:
    """Return the group that reverts an event of an earlier series, and the probability that its rate is back.

    The level before the event is unknown here. So the fall at a merge that says it reverts the culprit is compared with
    the rise: as much evidence as `find` asks for, though the group may be the second of its series.
    """
    sigma = window.view().sigma
    rise, spread = event.compared.effect, (event.compared.high - event.compared.low) / 4
    for c in range(max(1, len(window.groups) - RECENT), len(window.groups)):
        if not reverted(window, event, c):
            continue
        since, now = window.side(0, c), window.since(c)
        compared = compare(since, now, sigma)
        v_stays = sigma.sigma**2 * (1 / now.draws + 1 / since.draws)
        v_back = v_stays + spread**2
        short = max(0.0, compared.effect + rise)  # a larger fall than the rise is a recovery, too
        odds = math.log(LINKED / (1 - LINKED)) + 0.5 * math.log(v_stays / v_back)
        odds += compared.effect**2 / (2 * v_stays) - short**2 / (2 * v_back)
        if compared.effect < 0 and odds > math.log(plan.IMPROVED / (1 - plan.IMPROVED)) and _may_undo(compared, event):
            return c, 1 / (1 + math.exp(-min(odds, 700.0)))
    return None


def reverted(window: Window, event: Step, c: int) -> str:
    """Return the culprit that the merges of a group say they revert; "" for none."""
    reverts = [name for entry in window.groups[c].entries for name in entry.original.reverts]
    return next((sha for sha, _ in event.culprits if is_named(sha, reverts)), "")


def _back(window: Window, event: Step, c: int) -> float:
    """Return the probability that from group `c` on the level is that before the event, and not that since."""
    group = window.groups[c]
    if group.original.digest and group.original.result in event.digests:
        return 1.0
    now, since = window.since(c), window.side(0, c)
    variance = window.view().sigma.sigma ** 2
    v_back = variance * (1 / now.draws + 1 / event.before.draws)
    v_stays = variance * (1 / now.draws + 1 / since.draws)
    above = max(0.0, now.mean - event.before.mean)  # better than before is back, too
    prior = LINKED if reverted(window, event, c) else steps.PRIOR
    odds = math.log(prior / (1 - prior)) + 0.5 * math.log(v_stays / v_back)
    odds += (now.mean - since.mean) ** 2 / (2 * v_stays) - above**2 / (2 * v_back)
    if now.mean >= since.mean:
        return 0.0
    return 1 / (1 + math.exp(-min(odds, 700.0))) if odds > -700 else 0.0
