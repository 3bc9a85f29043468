"""Compares the verdicts with other rules on simulated histories.

    python -m tests.benchmarks.verdicts [HISTORIES]

HISTORIES (200) of 500 quiet merges each, and as many steps of each size in the middle of 70 merges. Needs NumPy. asv's
step detection is run if asv is installed (`pip install asv`); its row is left out, and that is said, if it is not. The
noise of a training has a standard deviation of .3 pp on a test set of 53,374 words, or of 1.5 pp on one of 773.
"""

from __future__ import annotations

import importlib
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy

from deepspeech_wer.verdicts import noise, utterance_scores
from deepspeech_wer.verdicts import paired as paired_runs
from deepspeech_wer.verdicts.intervals import Interval
from deepspeech_wer.verdicts.levels import POWER_DRAWS, Group, Step
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw, Entry
from deepspeech_wer.verdicts.utterance_scores import Each
from deepspeech_wer.verdicts.walk import Walk

QUIET = 500  # merges
BEFORE, AFTER = 40, 30  # merges around a step
UTTERANCES = 2620
LEVEL = 0.16
TEST_SETS = 1000


@dataclass(frozen=True)
class World:
    """How a simulated project behaves."""

    sd: float = 0.003
    words: int = 53374
    level: float = 0.16
    inert: float = 0.0  # share of merges that change nothing
    broken: float = 0.0  # share of trainings that go wrong: 8 to 40 standard deviations worse


SMALL = {"sd": 0.015, "words": 773, "level": 0.27}
QUIET_WORLDS = {
    "every merge draws anew, .3 pp": World(),
    "half of them change nothing, .3 pp": World(inert=0.5),
    "every merge draws anew, 1.5 pp": World(**SMALL),  # type: ignore[arg-type]
    "half of them change nothing, 1.5 pp": World(**SMALL, inert=0.5),  # type: ignore[arg-type]
    "3 % broken trainings, .3 pp": World(broken=0.03),
}


@dataclass
class History:
    """The merges of one simulated project, and as many re-trainings as a rule asks for."""

    world: World
    seed: int
    step: float = 0.0  # in standard deviations
    at: int = -1  # the merge with the step
    rates: list[float] = field(default_factory=list)
    runs: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._last: Draw | None = None

    def entry(self, place: int) -> Entry:
        """Return the next merge."""
        is_inert = self._last and place != self.at and self.random.random() < self.world.inert
        if is_inert and self._last:
            self._last = self._draw(place, self._last.rate or 0.0, self._last.digest)
        else:
            self._last = self._draw(place, self._rate(place))
        self.rates.append(self._last.rate or 0.0)
        return Entry(self._last)

    def retrain(self, group: Group) -> Draw:
        """Return a re-training of a merge. The merges of a group have one level."""
        return self._draw(group.original.place, self._rate(group.original.place))

    def _rate(self, place: int) -> float:
        world = self.world
        mean = world.level + (self.step * world.sd if 0 <= self.at <= place else 0.0)
        broken = world.sd * self.random.uniform(8, 40) if self.random.random() < world.broken else 0.0
        return self.random.gauss(mean, world.sd) + broken

    def _draw(self, place: int, rate: float, digest: str = "") -> Draw:
        self.runs += 1
        run = f"{self.runs:06d}"
        return Draw(
            run, f"{place:040x}", place, rate, None, self.world.words, digest or run, "test", "v", (), "cpu", None
        )


def walk_over(history: History, merges: int, *, since: int | None = None) -> Walk:
    """Judge a history with the shipped code; until a regression is told at the merge `since` or later, if given."""
    walk = Walk(Rules(), source=history.retrain)
    told = 0
    for place in range(merges):
        walk.feed(history.entry(place))
        if since is not None and place < since:
            told = len(regressions(walk))
        elif since is not None and len(regressions(walk)) > told:
            break
    return walk


def regressions(walk: Walk) -> list[Step]:
    """Return the regressions told."""
    return [step for step in walk.steps if step.kind == "worse"]


def found_at(history: History) -> tuple[Walk, Step | None]:
    """Judge a history until the step in it is told, within AFTER merges. A false alarm before it does not count."""
    walk = walk_over(history, history.at + AFTER + 1, since=history.at)
    last = regressions(walk)[-1:]
    is_told = last and walk.entries > history.at and last[0].seen >= history.at
    return walk, last[0] if is_told else None


def previous(rates: Sequence[float], world: World) -> int:
    """Return how often a run is worse than the previous one by 1.67 standard deviations (.5 pp)."""
    return sum(new - old > world.sd * 5 / 3 for old, new in pairwise(rates))


def paired(rates: Sequence[float], world: World) -> int:
    """Return how often a paired test on the utterances finds a run worse than the previous one, p < .05 two-sided.

    Two trainings disagree on utterances: the difference of the rates has the standard error of these disagreements,
    which is what a test sees. It does not see that another seed would disagree otherwise. That error is .62 of the
    standard deviation between trainings on LibriSpeech's test-clean: sqrt(rate / words), .17 pp, against .3 pp.
    """
    error = math.sqrt(2) * math.sqrt(world.level / world.words)
    return sum((new - old) / error > 1.96 for old, new in pairwise(rates))


def asv_steps() -> Callable[[Sequence[float]], list[int]] | None:
    """Return asv's detector as a function from rates to the places of its steps up; None if asv is not installed."""
    try:
        detect = importlib.import_module("asv.step_detect").detect_steps
    except ImportError:
        return None

    def places(rates: Sequence[float]) -> list[int]:
        found = detect(list(rates))
        return [new[0] for old, new in pairwise(found) if new[2] > old[2]]

    return places


def quiet_table(histories: int) -> None:
    """Print the false alarms of each rule."""
    detect = asv_steps()
    print("false alarms per 100 quiet merges | verdicts | re-trainings | previous | paired | asv")
    for name, world in QUIET_WORLDS.items():
        told = trained = worse = tested = stepped = 0
        with_asv = min(histories, 20)
        for seed in range(histories):
            history = History(world, seed)
            walk = walk_over(history, QUIET)
            told += len(regressions(walk))
            trained += walk.retrained
            worse += previous(history.rates, world)
            tested += paired(history.rates, world)
            if detect and seed < with_asv:
                stepped += len(detect(history.rates))
        per_100 = histories * QUIET / 100
        asv = f"{stepped / (with_asv * QUIET / 100):.2f}" if detect else "not installed"
        columns = f"{told / per_100:.3f} | {trained / per_100:.1f} | {worse / per_100:.1f} | {tested / per_100:.1f}"
        print(f"{name} | {columns} | {asv}", flush=True)


def step_table(histories: int) -> None:
    """Print what is found of steps."""
    detect = asv_steps()
    print("\nstep | found within 30 | within 5 | exact | within one | re-trainings | asv: found, exact")
    for inert in (0.0, 0.5):
        for size in (1.0, 1.67, 2.0, 3.3):
            found = soon = exact = near = trained = 0
            seen = asv_exact = 0
            for seed in range(histories):
                history = History(World(inert=inert), 10_000 + seed, size, BEFORE)
                walk, step = found_at(history)
                trained += walk.retrained
                if step:
                    found += 1
                    soon += walk.entries - 1 - BEFORE <= 5
                    exact += step.place == BEFORE
                    near += abs(step.place - BEFORE) <= 1
                if detect:
                    whole = History(World(inert=inert), 10_000 + seed, size, BEFORE)
                    rates = [whole.entry(place).original.rate or 0.0 for place in range(BEFORE + AFTER + 1)]
                    places = [place for place in detect(rates) if place >= BEFORE - 1]
                    seen, asv_exact = seen + bool(places), asv_exact + (BEFORE in places)
            asv = f"{_share(seen, histories)}, {_share(asv_exact, histories)}" if detect else "not installed"
            columns = " | ".join(_share(count, histories) for count in (found, soon, exact, near))
            name = f"{size} sigma, {'half inert' if inert else 'all new'}"
            print(f"{name} | {columns} | {trained / histories:.1f} | {asv}", flush=True)


def detectable_table(histories: int) -> None:
    """Print the effect that is said to be found within 5 merges in 80 %, and the one that is."""
    print("\nminimum detectable effect, in sigma: merges before | said | simulated")
    for before in (12, 25, 40, 80):
        said = noise.detectable(1.0, before, POWER_DRAWS)
        low, high = 0.5, 5.0
        for _ in range(7):
            size = (low + high) / 2
            found = 0
            for seed in range(histories):
                history = History(World(), 50_000 + seed, size, before)
                walk, step = found_at(history)
                found += step is not None and walk.entries - 1 - before <= 5
            low, high = (low, size) if found > 0.8 * histories else (size, high)
        print(f"{before} | {said:.2f} | {(low + high) / 2:.2f}", flush=True)


def coverage(histories: int) -> None:
    """Print how often the interval of a quiet merge's effect has the true effect, zero."""
    inside = total = 0
    for seed in range(histories):
        walk = walk_over(History(World(), 90_000 + seed), 60)
        for number in range(20, len(walk.window.groups)):
            compared = walk.quiet(number)
            if compared:
                inside += compared.low <= 0 <= compared.high
                total += 1
    print(f"\ncoverage of the interval of a merge's effect, nominal 95 %: {100 * inside / total:.1f} %")


def speakers_table(sets: int) -> None:
    """Print how often the intervals of measured rates hold the truth when speakers differ.

    Test sets of 2,620 utterances like LibriSpeech's test-clean, each with speakers of its own. Their rates are drawn
    from a beta distribution with mean 16 %. For the paired interval, a second model errs as often, but does better with
    some speakers and worse with others.
    """
    dice = numpy.random.default_rng(1)
    print("\nspeakers, sd between them | by speaker | bootstrap by speaker | by utterance | paired, by speaker")
    for speakers, sd in ((40, 0.0), (40, 0.03), (40, 0.08), (20, 0.08), (200, 0.08)):
        held: Counter[str] = Counter()
        for _ in range(sets):
            words = numpy.maximum(1, numpy.round(dice.gamma(2, 10.2, UTTERANCES))).astype(int)
            names = numpy.arange(UTTERANCES) % speakers
            runs = [_speak(dice, words, names, _own_rates(dice, speakers, sd)) for _ in range(2)]
            one, other = (_each(words, errors, names) for errors in runs)
            known, unknown = (
                utterance_scores.interval(one),
                utterance_scores.interval(one._replace(speakers=(None,) * UTTERANCES)),
            )
            compared = paired_runs.compare(one, other)
            held["speaker"] += _holds(known, LEVEL)
            held["utterance"] += _holds(unknown, LEVEL)
            held["paired"] += compared is not None and _holds(compared.interval, 0.0)
            low, high = _bootstrap(dice, words, runs[0], names, speakers)
            held["bootstrap"] += low <= LEVEL <= high
        columns = " | ".join(
            f"{100 * held[name] / sets:.1f} %" for name in ("speaker", "bootstrap", "utterance", "paired")
        )
        print(f"{speakers}, {100 * sd:.0f} pp | {columns}", flush=True)


def _own_rates(dice: Any, speakers: int, sd: float) -> Any:
    """Return a rate for each speaker."""
    if not sd:
        return numpy.full(speakers, LEVEL)
    size = LEVEL * (1 - LEVEL) / sd**2 - 1
    return dice.beta(LEVEL * size, (1 - LEVEL) * size, speakers)


def _speak(dice: Any, words: Any, names: Any, rates: Any) -> Any:
    """Return the errors of each utterance. Some utterances are harder than others, too."""
    own = numpy.clip(rates[names] * dice.gamma(4, 0.25, len(words)), 0, 1)
    return dice.binomial(words, own)


def _each(words: Any, errors: Any, names: Any) -> Each:
    ids = tuple(f"{number:05}" for number in range(len(words)))
    return Each("set", ids, tuple(map(str, names)), tuple(words.tolist()), tuple(errors.tolist()))


def _bootstrap(dice: Any, words: Any, errors: Any, names: Any, speakers: int) -> tuple[float, float]:
    """Return the percentile interval of 1,000 resamples of speakers (Bisani and Ney 2004)."""
    sums = [numpy.bincount(names, weights=one, minlength=speakers) for one in (errors, words)]
    drawn = dice.integers(0, speakers, (1_000, speakers))
    rates = sums[0][drawn].sum(1) / sums[1][drawn].sum(1)
    low, high = numpy.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


def _holds(found: Interval | None, truth: float) -> bool:
    return found is not None and found.low <= truth <= found.high


def _share(count: int, histories: int) -> str:
    return f"{100 * count / histories:.0f} %"


def main() -> None:
    """Simulate and print."""
    histories = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    start = time.process_time()
    if asv_steps() is None:
        print("asv is not installed: pip install asv")
    quiet_table(histories)
    step_table(histories)
    detectable_table(histories)
    coverage(histories)
    speakers_table(TEST_SETS)
    print(f"{time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
