"""What each run is compared with: the merge before it, and the last run that had its parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deepspeech_wer import hyper, run_table
from deepspeech_wer.dashboard.columns import coded, run_lengths
from deepspeech_wer.records import Run

BEYOND = 3.0  # standard deviations of the difference of two trainings: noise alone exceeds it 3 times in 1,000
WORSE, BETTER, NOISE, UNKNOWN = "worse", "better", "noise", ""


def changes(runs: Sequence[Run], sigmas: Mapping[str, float]) -> dict[str, Any]:
    """Return columns of runs in the order of history; a re-training is none of them.

    `before` and `same` are distances to the measured run of the same test set that came before, and to the last of them
    with the same parameters; 0: there is none. Where these differ, `same_direction` says what the second change is, by
    the noise of one training: the verdict is about the merge alone. `sigmas` are in percentage points, by run id.
    """
    before, same, directions = [], [], []
    newest: dict[Any, int] = {}
    alike: dict[Any, int] = {}
    table = run_table.of(runs)
    conditions, rates = _Conditions(table.column("parameters")), table.column("test_wer")
    for place, (name, rate, *of_run) in enumerate(table.columns("id", "test_wer", "signature", "parameters")):
        if rate is None:
            before.append(0)
            same.append(0)
            directions.append(UNKNOWN)
            continue
        signature, parameters = conditions.of(*of_run)
        last, like = newest.get(signature), alike.get((signature, parameters))
        before.append(0 if last is None else place - last)
        same.append(0 if like is None else place - like)
        directions.append(UNKNOWN if like is None or like == last else _direction(rates[like], rate, sigmas.get(name)))
        newest[signature] = alike[signature, parameters] = place
    return {"before": run_lengths(before), "same": run_lengths(same), "same_direction": coded(directions)}


def _direction(was: float, rate: float, sigma: float | None) -> str:
    if sigma is None:
        return UNKNOWN
    difference = 100 * (rate - was)
    if abs(difference) <= BEYOND * math.sqrt(2) * sigma:
        return NOISE
    return WORSE if difference > 0 else BETTER


class _Conditions:
    """The test set and the parameters of runs, as keys. Paths do not count: they differ by machine and by run."""

    def __init__(self, parameters: Iterable[dict[str, Any] | None]) -> None:
        self._flat: dict[int, dict[str, hyper.Scalar]] = {}
        self._keys: dict[int, Any] = {}
        self._signatures: dict[int, str] = {}
        self._last: tuple[Any, Any, tuple[str, Any]] = None, None, ("", None)
        for one in parameters:
            if one is not None and id(one) not in self._flat:
                self._flat[id(one)] = hyper.flatten(one)
        texts = ((name, value) for flat in self._flat.values() for name, value in flat.items())
        self._paths = {name for name, value in texts if isinstance(value, str) and "/" in value}

    def of(self, signature: Any, parameters: dict[str, Any]) -> tuple[str, Any]:
        """Runs may share the objects, which saves most of the work."""
        if self._last[0] is not signature or self._last[1] is not parameters:
            self._last = signature, parameters, (self._text(signature), self._key(parameters))
        return self._last[2]

    def _key(self, parameters: dict[str, Any]) -> Any:
        number = id(parameters)
        if number not in self._keys:
            kept = ((name, value) for name, value in self._flat[number].items() if name not in self._paths)
            self._keys[number] = tuple(sorted((name, type(value).__name__, str(value)) for name, value in kept))
        return self._keys[number]

    def _text(self, signature: Any) -> str:
        if id(signature) not in self._signatures:
            self._signatures[id(signature)] = json.dumps(signature, sort_keys=True)
        return self._signatures[id(signature)]
