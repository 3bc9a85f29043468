"""python -m deepspeech_wer.training.board RUNS... DIR: learning curves of many runs for TensorBoard.

Each RUNS is a directory of runs: `runs` of the tracker's data, or one that was ds_logs_dir. Each run with a
history.json becomes a directory below DIR, so that `tensorboard --logdir DIR` shows the runs beside each other. Runs
that are there already are left as they are: call it again after the next training.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import Trouble, with_cure
from ..files import remove_tree
from ..job_contract import HISTORY, HYPER
from .quiet import quiet_start
from .threads import seal_tensorflow

FIGURES = ("train_loss", "train_wer", "validation_loss", "validation_wer", "learning_rate")
TEST = "test_wer"  # one point, at the last epoch

Point = tuple[int, str, float]  # epoch, name, value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0; 1: there are no runs, or DIR cannot be written; 2: wrong use."""
    made = argparse.ArgumentParser(
        prog="python -m deepspeech_wer.training.board",
        description=(__doc__ or "").partition(": ")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("runs", metavar="RUNS", nargs="+", type=Path)
    made.add_argument("directory", metavar="DIR", type=Path)
    given = made.parse_args(argv)
    seal_tensorflow()
    try:
        new, old = write(given.runs, given.directory)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    print(f"{new} new, {old} there before: tensorboard --logdir {given.directory}")
    return 0


def write(runs: Sequence[Path], directory: Path) -> tuple[int, int]:
    """Write the runs that are not there yet. Returns how many are new, and how many were there. Raises Trouble."""
    found = {path.parent.name: path for root in runs for path in sorted(root.glob(f"*/{HISTORY}"))}
    if not found:
        raise Trouble(f"{', '.join(map(str, runs))}: holds no run with a {HISTORY}: expected a directory of runs")
    new = 0
    try:
        for name, history in found.items():
            if not (directory / name).exists():
                _write(list(points(history)), directory / f".{name}.partial", directory / name)
                new += 1
    except OSError as error:
        raise Trouble(f"{error.filename or directory}: cannot be written: {with_cure(error)}") from error
    return new, len(found) - new


def points(history: Path) -> Iterator[Point]:
    """Yield what history.json and hyper.json beside it measured. Raises Trouble for a history that is none."""
    try:
        epochs = json.loads(history.read_bytes())["epochs"]
        for epoch in epochs:
            yield from ((int(epoch["epoch"]), name, value) for name in FIGURES if _is_number(value := epoch.get(name)))
        last = int(epochs[-1]["epoch"]) if epochs else 0
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise Trouble(
            f"{history}: cannot be read as learning curves ({type(error).__name__}: {error}): expected the schema "
            "`history`; move the run elsewhere to show the others"
        ) from error
    value = _test_wer(history.with_name(HYPER))
    if _is_number(value):
        yield last, TEST, value


def _test_wer(hyper: Path) -> Any:
    try:
        return json.loads(hyper.read_bytes())["results"][TEST]
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return None  # the run failed after its training


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _write(found: Sequence[Point], partial: Path, place: Path) -> None:
    """Write an event file. The directory gets its name when it is whole. Raises OSError."""
    remove_tree(partial)
    partial.mkdir(parents=True)
    with quiet_start():
        from .summaries import Events  # TensorFlow takes seconds to load: not for a wrong command line

        events = Events(partial)
    for epoch, name, value in found:
        events.scalar(epoch, name, value)
    events.close()
    partial.rename(place)


if __name__ == "__main__":
    sys.exit(main())
