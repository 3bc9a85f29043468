"""Invented histories: runs as the archive would hold them, with the re-trainings that the judge asks for."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from deepspeech_wer.verdicts.judge import Judgement, judge
from deepspeech_wer.verdicts.levels import Acceptance
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw

SD = 0.003  # of a training's noise
WORDS = 53374


def sha_of(place: int) -> str:
    return f"{place + 1:040x}"[::-1]


def draw(place: int, rate: float | None, **changes: object) -> Draw:
    run = f"run{place:06d}"
    plain = Draw(
        run=run,
        sha=sha_of(place),
        place=place,
        rate=rate,
        errors=None if rate is None else round(rate * WORDS),
        words=WORDS,
        digest=f"digest-{run}",
        signature="test-clean none@1 greedy",
        variables="operator",
        changed_variables=(),
        machine="cpu kernel",
        rerun_of=None,
    )
    return plain._replace(**changes)  # type: ignore[arg-type]


def inert(before: Draw, place: int, **changes: object) -> Draw:
    """A merge that changes nothing: the result before it, to the digit."""
    return draw(place, before.rate, digest=before.digest, machine=before.machine, **changes)


@dataclass
class History:
    """An archive that grows. Levels are the true rates, by place."""

    seed: int = 1
    rules: Rules = field(default_factory=Rules)
    level: float = 0.16
    accepted: tuple[str | Acceptance, ...] = ()
    ignores_seed: bool = False
    fails: set[str] = field(default_factory=set)  # runs whose re-trainings fail
    draws: list[Draw] = field(default_factory=list)
    levels: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    judgement: Judgement | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def merge(self, step: float = 0.0, **changes: object) -> Draw:
        """Add a merge that moves the level by so many standard deviations, and every re-training it leads to."""
        self.level += step * SD
        new = draw(self._place(), self.random.gauss(self.level, SD), **changes)
        return self.add(new)

    def same(self) -> Draw:
        """Add a merge that changes nothing."""
        originals = [one for one in self.draws if one.rerun_of is None]
        return self.add(inert(originals[-1], self._place()))

    def add(self, new: Draw) -> Draw:
        self.draws.append(new)
        self.levels[new.run] = self.level
        self._retrain()
        return new

    def verdict(self, one: Draw) -> str:
        return self.by_sha()[one.sha]

    def by_sha(self) -> Mapping[str, str]:
        assert self.judgement
        return {verdict.sha: verdict.verdict for verdict in self.judgement.verdicts}

    def _place(self) -> int:
        return max((one.place for one in self.draws), default=-1) + 1

    def _retrain(self) -> None:
        for _ in range(100):
            self.judgement = judge(self.draws, accepted=self.accepted, rules=self.rules)
            wanted = self.judgement.next_retraining
            if wanted is None:
                return
            self.asked.append(wanted.sha)
            parent = next(one for one in self.draws if one.run == wanted.run)
            run = f"zrun{len(self.draws):06d}"
            rate: float | None = self.random.gauss(self.levels[wanted.run], SD)
            digest = f"digest-{run}"
            if self.ignores_seed:
                assert parent.rate is not None
                rate, digest = parent.rate, parent.digest
            if wanted.run in self.fails:
                rate, digest = None, ""
            self.draws.append(parent._replace(run=run, rate=rate, digest=digest, rerun_of=parent.run))
        raise AssertionError("re-trainings without end")
