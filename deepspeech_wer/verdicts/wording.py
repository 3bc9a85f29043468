"""Puts what a walk found into verdicts and events, with the reason in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from deepspeech_wer.verdicts import accused, recovery
from deepspeech_wer.verdicts.findings import (
    BETTER,
    CANNOT_TELL,
    FAILED,
    NO_CHANGE,
    NOT_COMPARABLE,
    RECOVERED,
    SUSPECT,
    TOO_FEW,
    UNCHANGED,
    WORSE,
    Event,
    Verdict,
)
from deepspeech_wer.verdicts.levels import Comparison, Step
from deepspeech_wer.verdicts.series import Draw
from deepspeech_wer.verdicts.walk import Walk
from deepspeech_wer.verdicts.window import ENOUGH

EVENTS = ("worse", "dismissed", "cannot tell", "suspect")  # kinds of steps that are events


def failed(draw: Draw) -> Verdict:
    return Verdict(draw.sha, draw.run, FAILED, "the run failed or was not measured")


def late(draw: Draw) -> Verdict:
    reason = "trained later than the merges after it, under other conditions"
    return Verdict(draw.sha, draw.run, NOT_COMPARABLE, reason)


def unchanged(walk: Walk, draw: Draw) -> Verdict:
    group, sigma = walk.window.groups[-1], walk.view().sigma
    reason = f"the result is that of {group.sha[:8]}, to the digit: this merge changed nothing"
    return Verdict(
        draw.sha, draw.run, UNCHANGED, reason, 0.0, (0.0, 0.0), _pp(sigma.sigma), round(sigma.degrees, 1), p=0.0
    )


def quiet(walk: Walk, number: int, why: str = "") -> Verdict:
    """Return the verdict of a group that is no step. `why`: the reason for its series, if the group began one."""
    group, view = walk.window.groups[number], walk.view()
    compared, revert = walk.quiet(number), _unclosed(walk, number)
    sigma_pp, degrees = _pp(view.sigma.sigma), round(view.sigma.degrees, 1)
    plain = Verdict(group.sha, group.original.run, TOO_FEW, "", sigma_pp=sigma_pp, sigma_df=degrees)
    if compared is None:
        if why:
            return plain._replace(verdict=NOT_COMPARABLE, reason=f"the first of a new series: {why}{revert}")
        return plain._replace(reason="the first run: nothing to compare it with")
    plain = plain._replace(
        effect_pp=_pp(compared.effect),
        interval_pp=(_pp(compared.low), _pp(compared.high)),
        mde_pp=_pp(compared.detectable),
        p=round(view.seen.up[number], 6),
        retrained=group.taken,
    )
    if not walk.window.has_enough(number + 1):
        reason = f"{_effect(compared)} against {number} earlier: {ENOUGH} different results are needed{revert}"
        return plain._replace(reason=reason)
    again = f"trained again {_times(group.taken)}; " if group.taken else ""
    same = ""
    if group.repeats is not None:
        same = "the result of an earlier merge again, to the digit; "
    reason = (
        f"{same}{again}{_effect(compared)}; a step of {_pp(compared.detectable):.2g} pp would be found within 5 merges"
    )
    if compared.low <= 0 <= compared.high:
        return plain._replace(verdict=NO_CHANGE, reason=f"{reason}{revert}")
    verdict, why = _undecided(walk, number)
    return plain._replace(verdict=verdict, reason=f"{same}{again}{_effect(compared)}: {why}{revert}")


def _unclosed(walk: Walk, number: int) -> str:
    """Return why a merge does not close the regression of an earlier series that it says it reverts; "" if none."""
    event = next((one for one in walk.earlier if recovery.reverted(walk.window, one, number)), None)
    if event is None:
        return ""
    why = "has not fallen as far as it rose" if number else "before it was not measured in this series"
    return f"; the event of {event.sha[:8]}, which it reverts, stays open, since the rate {why}: see `accept`"


def _undecided(walk: Walk, number: int) -> tuple[str, str]:
    """Return the verdict of a group whose interval excludes 0 although it is no step, and why it is none."""
    groups, seen = walk.window.groups, walk.view().seen
    early = next((group for group in groups[1 : number + 1] if group.number in walk.window.early), None)
    if early and (accused.early_target(walk.window) or not walk.can_retrain):
        whose = "this merge" if early is groups[number] else early.sha[:8]
        told = "it and the merge before it are trained again first" if walk.can_retrain else "more merges will tell"
        return TOO_FEW, f"{whose} is among the first of its level, and far off; {told}"
    if not walk.view().clean[number] and groups[number].repeats is None:
        return NO_CHANGE, "those around it are far lower, so it may be a broken training, and does not count"
    if not seen.up[number] and not seen.down[number]:
        return TOO_FEW, "too few trainings of the level before it"
    likely = max(range(len(groups)), key=lambda c: max(seen.up[c], seen.down[c]))
    if likely != number and max(seen.up[likely], seen.down[likely]) > 0.5:
        return NO_CHANGE, f"the level changed, but rather at {groups[likely].sha[:8]}"
    chance = max(seen.up[number], seen.down[number])
    if chance > 0.5:
        return NO_CHANGE, f"a step here has probability {chance:.2f}, which is not confirmed"
    return NO_CHANGE, f"a step here has probability {chance:.2f}; one quiet merge in 20 is as far off"


def of_step(step: Step) -> Verdict:
    size, again = _effect(step.compared), _again(step.retrained)
    if step.kind == "worse":
        verdict, reason = WORSE, f"{size}{again}"
        if len(step.culprits) + step.skipped > 1:
            likely = f"{step.skipped} of them not trained" if step.skipped else "this one most likely"
            reason += f"; one of {len(step.culprits) + step.skipped} merges, {likely}"
        if step.state == "accepted":
            reason += "; accepted"
    elif step.kind == "better":
        verdict, reason = BETTER, f"{size}{again}"
    elif step.kind == "recovered":
        verdict, reason = RECOVERED, f"{size}: the level is back"
        if step.reverts:
            reason += f", as {step.reverts[:8]} is reverted"
    elif step.failed:
        verdict = CANNOT_TELL
        reason = f"{size}, and no more is learnt: the re-trainings of {step.failed[:8]} failed"
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
        round(step.probability * (dict(step.culprits)[step.sha] if step.gaps else 1.0), 6) if shown else 0.0,
        shown,
        step.retrained,
    )


def of_range(step: Step, sha: str, run: str, chance: float) -> Verdict:
    """Return the verdict of a merge that may have done it, though another is more likely."""
    merges = len(step.culprits) + step.skipped
    reason = f"{_effect(step.compared)} from one of {merges} merges; {step.sha[:8]} is more likely"
    probability = round(chance * step.probability, 6)
    return of_step(step)._replace(sha=sha, run=run, verdict=CANNOT_TELL, reason=reason, p=probability)


def suspects(walk: Walk) -> Iterator[tuple[int, Verdict]]:
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
                of_step(step)._replace(
                    sha=sha,
                    run=step.runs[sha],
                    verdict=SUSPECT,
                    reason=reason,
                    p=round(chance * step.probability, 6),
                ),
            )


def events(told: Sequence[Step]) -> Iterator[Event]:
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
        gaps=tuple(gap._replace(chance=round(gap.chance, 4)) for gap in step.gaps),
    )


def _pp(fraction: float) -> float:
    return round(100 * fraction, 4) + 0.0  # no -0.0


def _effect(compared: Comparison) -> str:
    return f"{_pp(compared.effect):+.2f} pp (95 %: {_pp(compared.low):.2f} to {_pp(compared.high):.2f})"


def _again(count: int) -> str:
    return f" after {count} re-training{'' if count == 1 else 's'}" if count else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
