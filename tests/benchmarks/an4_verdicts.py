"""The verdicts on real speech: AN4 trained with the shipped network, calibrated, then changed merge by merge.

    python -m tests.benchmarks.an4_verdicts DATASET [--directory DIR] [--seeds 8] [--no-check]

DATASET is the directory of AN4's train.csv, dev.csv and test.csv. A repository is made whose job is this checkout's
training with a shortened recipe, about 65 CPU-seconds. The tracker trains the first merge and calibrates it. Then come
a merge that edits a comment, one that halves the learning rate, one that halves it again, and the revert of that; each
is trained, judged and trained again as the tracker decides. Last, as a check that no verdict knows of, the merges that
changed the learning rate are trained with as many seeds as the calibration.

Prints the verdicts and every training. Kept in DIR: log, archive, verdicts of each step, pictures of the page. A call
that was killed is taken up by the next one with the same DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from deepspeech_wer import archive, hyper
from deepspeech_wer.demo import sample
from deepspeech_wer.records import Run
from tests.conftest import Repository
from tests.end_to_end.visitor import document, served

RECIPE = {
    "ds_importer": "csv",
    "ds_n_hidden": "64",
    "ds_epochs": "40",
    "ds_learning_rate": "0.004",
    "ds_validation_step": "0",
    "ds_decoders": "greedy",
}
BASE, COMMENT, HALVED, QUARTERED = (
    "Train 64 cells for 40 epochs",
    "Cite the paper in a comment",
    "Halve the learning rate",
    "Halve the learning rate again",
)
REVERT = f'Revert "{QUARTERED}"'
MODEL = "deepspeech_wer/training/network/model.py"
TICK = (sys.executable, "-P", "-m", "deepspeech_wer")
TICK_S = 4 * 3600.0  # a tick may train dozens of times


@dataclass(frozen=True)
class Place:
    """Where everything is kept."""

    root: Path
    dataset: Path

    @property
    def data(self) -> Path:
        return self.root / "data" / "deepspeech_wer"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def environment(self) -> dict[str, str]:
        """Return the environment of the ticks, without the caller's settings."""
        home = self.root / "home"
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "ds_dataroot": str(self.root / "data"),
            "ds_repo_url": str(self.root / "an4"),
            "ds_clone_path": str(self.root / "clone"),
            "ds_dataset_path": str(self.dataset),
        }


def main() -> int:
    """Run the story. Returns 0 once it is told."""
    options = _options()
    place = Place(options.directory.resolve(), options.dataset.resolve())
    repository = _repository(place)
    _merge(repository, BASE, _files())
    _tick(place)
    _calibrate(place, BASE, options.seeds)
    _step(place, repository, COMMENT, {MODEL: _commented()})
    _step(place, repository, HALVED, _files("0.002"))
    _step(place, repository, QUARTERED, _files("0.001"))
    reverted = _run(place, QUARTERED).merge.sha
    _step(place, repository, f"{REVERT}\n\nThis reverts commit {reverted}.", _files("0.002"))
    _picture(place, "page.png")
    if options.check:
        for subject in (HALVED, QUARTERED):
            _calibrate(place, subject, options.seeds)
        _keep_verdicts(place, "check")
        _picture(place, "page-after-check.png")
    _report(place)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("dataset", type=Path, help="directory of AN4's train.csv, dev.csv and test.csv")
    parser.add_argument("--directory", type=Path, default=Path("an4-verdicts"), help="where everything is kept")
    parser.add_argument("--seeds", type=int, default=8, help="trainings of a calibration")
    parser.add_argument("--no-check", dest="check", action="store_false", help="leave out the last 2 x SEEDS trainings")
    options = parser.parse_args()
    if not (options.dataset / "train.csv").is_file():
        parser.error(f"{options.dataset}: no train.csv: expected the directory of AN4's tables")
    return options


def _repository(place: Place) -> Repository:
    path = place.root / "an4"
    if not path.exists():
        repository = Repository(path)
        repository.commit("Speech recognition on AN4", {"README.md": "Spelled names and numbers.\n"})
        return repository
    found = Repository.__new__(Repository)
    found.path = path
    return found


def _files(learning_rate: str = "") -> dict[str, str]:
    """Return the files that a merge changes: all for the first one, later the parameters."""
    values = {**RECIPE, "ds_learning_rate": learning_rate or RECIPE["ds_learning_rate"]}
    parameters = "".join(f"export {name}={value}\n" for name, value in values.items())
    return {**({} if learning_rate else sample.sources()), "parameters.sh": parameters}


def _commented() -> str:
    text = sample.sources()[MODEL]
    head, quotes, rest = text.partition('"""')
    assert not head, f"{MODEL}: expected a docstring at the top"
    return f"# Based on Hannun et al. 2014, Deep Speech.\n{quotes}{rest}"


def _merge(repository: Repository, message: str, files: dict[str, str]) -> bool:
    """Make the merge unless it is there already."""
    subject = message.split("\n", 1)[0]
    if subject in repository.git("log", "--first-parent", "--format=%s", "main").splitlines():
        return False
    repository.merge(message, files)
    return True


def _step(place: Place, repository: Repository, message: str, files: dict[str, str]) -> None:
    _merge(repository, message, files)
    _tick(place)
    _keep_verdicts(place, message.split("\n", 1)[0])


def _calibrate(place: Place, subject: str, seeds: int) -> None:
    sha = _run(place, subject).merge.sha
    done = sum(run.calibrates and run.hyper is not None for run in archive.of_commit(place.data / "runs", sha))
    if done < seeds:
        print(_call(place, "calibrate", "--sha", sha[:12], "--runs", str(seeds - done)), end="", flush=True)
        _tick(place)
    print(_call(place, "calibrate", "--show"), end="", flush=True)


def _tick(place: Place) -> None:
    with place.log.open("a") as log:
        subprocess.run(TICK, env=place.environment(), stderr=log, timeout=TICK_S, check=True)


def _call(place: Place, *arguments: str) -> str:
    environment = place.environment()
    done = subprocess.run(
        [*TICK, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        sys.exit(f"deepspeech-wer {arguments[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def _keep_verdicts(place: Place, step: str) -> None:
    said = f"## {step}\n\n{_call(place, 'verdicts')}\n"
    kept = place.root / "verdicts.txt"
    if not kept.exists() or f"## {step}\n" not in kept.read_text():  # the story goes on after a kill
        with kept.open("a") as stream:
            stream.write(said)
        print(said, flush=True)


def _runs(place: Place) -> Sequence[Run]:
    return archive.in_order(archive.load(place.data / "runs"))


def _run(place: Place, subject: str) -> Run:
    """Return the merge's own run."""
    found = next((run for run in _runs(place) if run.merge.subject == subject and run.rerun_of is None), None)
    if found is None or found.hyper is None:
        sys.exit(f"{subject!r} was not trained: see {place.log}")
    return found


def _picture(place: Place, name: str) -> None:
    site = place.data / "site"
    with served(site) as address:
        document(f"{address}/index.htm", "Latest runs", REVERT[:7], picture=place.root / name)


def _report(place: Place) -> None:
    """Print every training, and for each merge the mean and standard deviation of all its trainings."""
    runs = _runs(place)
    for subject in dict.fromkeys(run.merge.subject for run in runs):
        listed = [run for run in runs if run.merge.subject == subject]
        rates = [rate for run in listed if (rate := hyper.test_wer(run.hyper)) is not None]
        spread = f" ± {100 * stdev(rates):.2f}" if len(rates) > 1 else ""
        print(f"{subject}: {100 * fmean(rates):.2f}{spread} % over {len(rates)}")
        for run in listed:
            print(f"    {_kind(run):<12} {hyper.shown(hyper.test_wer(run.hyper))}  {_seconds(run)}")
    (event_file := place.root / "events.json").write_text(json.dumps(_record(place)["events"], indent=1))
    print(f"log, archive, verdicts and pictures: {place.root} (events: {event_file})")


def _kind(run: Run) -> str:
    return "own" if run.rerun_of is None else "calibration" if run.calibrates else "re-trained"


def _seconds(run: Run) -> str:
    seconds = (run.hyper or {}).get("results", {}).get("cpu_seconds")
    return f"{seconds:.0f} CPU-s" if isinstance(seconds, int | float) else ""


def _record(place: Place) -> dict[str, Any]:
    return dict(json.loads((place.data / "verdicts.json").read_text()))


if __name__ == "__main__":
    sys.exit(main())
