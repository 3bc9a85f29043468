"""Measures how much the seed decides: `.venv/bin/python tests/benchmarks/seeds.py [--seeds N] [long] [NAME=VALUE...]`.

Runs `bin/run-an4.sh` with N seeds, one after the other, and prints the test rates of each and, at the end, their mean,
standard deviation and range. What has finished is kept in --directory, so that an interrupted run goes on. The recipe
takes 3 CPU-minutes per seed, `long` 10. With --repeat the first seed is trained twice: both must agree to the digit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIRST = 4567


def main() -> int:
    """Print the figures."""
    given = _options()
    records = []
    for number in range(given.seeds):
        records.append(trained(given, FIRST + number, ""))
        print(f"seed {FIRST + number}: {_told(records[-1])}", flush=True)
    if given.repeat:
        again = trained(given, FIRST, "-again")
        same = rates(again) == rates(records[0])
        print(f"seed {FIRST} again: {'the same to the digit' if same else f'other rates: {_told(again)}'}", flush=True)
    for name in ("greedy", "lm"):
        print(summary(name, [rates(one)[name] for one in records]), flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path("seeds"), help="where the runs are kept (./seeds)")
    parser.add_argument("--repeat", action="store_true", help="train the first seed twice")
    parser.add_argument("more", nargs="*", help="long, and variables")
    return parser.parse_args()


def trained(given: argparse.Namespace, seed: int, mark: str) -> Any:
    """Return the hyper.json of a training with a seed; train unless it is there."""
    recipe = [one for one in given.more if "=" not in one]
    variables = dict(one.split("=", 1) for one in given.more if "=" in one)
    name = "-".join([*recipe, *(f"{key}={value}" for key, value in sorted(variables.items())), str(seed)]) + mark
    logs = given.directory.resolve() / name.replace("/", "_")
    if not list(logs.glob("*/hyper.json")):
        own = {"ds_random_seed": str(seed), "ds_logs_dir": str(logs), "ds_python": sys.executable}
        environment = {**os.environ, **variables, **own}
        logs.parent.mkdir(parents=True, exist_ok=True)
        with logs.with_name(f"{logs.name}.log").open("w") as stream:
            command = [str(ROOT / "bin" / "run-an4.sh"), *recipe]
            subprocess.run(command, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=True)
    [path] = logs.glob("*/hyper.json")
    return json.loads(path.read_text())


def rates(record: Any) -> dict[str, float]:
    return {name: one["wer"] for name, one in record["results"]["decoders"].items()}


def _told(record: Any) -> str:
    parts = [f"{name} {rate:.2%}" for name, rate in rates(record).items()]
    return ", ".join([*parts, f"{record['results']['cpu_seconds']:.0f} CPU-seconds"])


def summary(name: str, values: Sequence[float]) -> str:
    """Return mean, standard deviation (of the sample) and range of error rates."""
    spread = f" +- {statistics.stdev(values):.2%}" if len(values) > 1 else ""
    return (
        f"{name}: {statistics.mean(values):.2%}{spread} (mean{' +- sd' if spread else ''} of {len(values)} seeds), "
        f"{min(values):.2%} to {max(values):.2%}"
    )


if __name__ == "__main__":
    sys.exit(main())
