"""The sample repository: a training with a small recipe, and a team's changes to it, merge by merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import deepspeech_wer
from deepspeech_wer.demo.place import Place
from deepspeech_wer.errors import Trouble
from deepspeech_wer.repository import git
from deepspeech_wer.repository.access import Access

JOB = """\
#!/usr/bin/env bash
# The job, which the tracker runs for every merge: this repository's training with this repository's parameters.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

source "$root/parameters.sh"
exec "$root/bin/train.sh" "$@"
"""

# Each training takes 15 CPU-seconds on the synthetic corpus with default settings.
RECIPE = {"ds_importer": "synthetic", "ds_n_hidden": "64", "ds_epochs": "14", "ds_learning_rate": "0.001"}
FASTER = {"ds_learning_rate": "0.004"}
# Modules of the package that the training imports.
MODULES = (
    "__init__.py",
    "clock.py",
    "job_contract.py",
    "errors.py",
    "files.py",
    "variables.py",
    "verdicts/__init__.py",
    "verdicts/intervals.py",
    "verdicts/student.py",
    "wer.py",
)
MODEL = "deepspeech_wer/training/network/model.py"


@dataclass(frozen=True)
class Step:
    """One merge: its subject, and the repository's content after it."""

    subject: str
    author: str
    parameters: dict[str, str] = field(default_factory=dict)  # in addition to RECIPE
    renamed: tuple[str, str, str] | None = None  # (path, old, new): replace old by new in this file
    readme: str = "Speech recognition, for the demo of deepspeech_wer.\n"
    reverts: str | None = None  # the subject of the merge that this one backs out


RENAMED = (MODEL, "parameters.relu_clip", "parameters.relu_limit")
LONGER_README = f"{Step.readme}\n`parameters.sh` has the parameters of the training.\n"
BASELINE = Step("Train a small network for 14 epochs", "Ada")
BAD = Step("Drop out 30 % of each layer", "Ben", {**FASTER, "ds_dropout_rate": "0.3"}, readme=LONGER_README)


class Day(NamedTuple):
    """The merges between two ticks of cron."""

    steps: tuple[Step, ...]
    news: str  # for the person who watches: what was merged, and what the tick will do


DAYS = (
    Day((BASELINE,), "one merge: the tick synthesises the speech, then trains the merge"),
    Day(
        (
            Step("Learn four times as fast", "Ben", FASTER),
            Step("Document the parameters", "Ada", FASTER, readme=LONGER_README),
            # Renamed here but not where it is defined, so the job fails when it builds the network.
            Step("Call the clip a limit", "Ada", FASTER, RENAMED, LONGER_README),
            Step("Call the limit a clip again", "Ada", FASTER, readme=LONGER_README),
        ),
        "four merges: one helps, one changes a document, one breaks the job, one mends it. The tick trains "
        "each, then both sides of the large change again with other seeds, to tell it from noise",
    ),
    Day((BAD,), "a bad merge: the tick suspects it, and trains it again with other seeds until it is sure"),
    Day(
        (Step(f'Revert "{BAD.subject}"', "Ada", FASTER, readme=LONGER_README, reverts=BAD.subject),),
        "its revert: the tick trains it, and finds the level of before",
    ),
)


def grow(place: Place, steps: Sequence[Step]) -> int:
    """Make those of the merges that do not exist yet. Returns how many are new.

    Each is made completely or not at all: the files that a killed call leaves are written again by the next one.
    """
    if not (place.sample / ".git" / "HEAD").exists():
        place.sample.mkdir(exist_ok=True)
        _git(place, "init", "--quiet", "--template=", "--initial-branch=main")
    made = _made(place)
    due = [step for step in steps if step.subject not in made]
    if due:
        (place.sample / ".git" / "index.lock").unlink(missing_ok=True)  # left by a killed git
    if due and not made:
        _commit(place, {"README.md": Step.readme}, "Start", "Ada")
    for step in due:
        _merge(place, step)
    return len(due)


def _merge(place: Place, step: Step) -> None:
    """Merge a branch of one commit."""
    before = _git(place, "rev-parse", "main")
    message = step.subject
    if step.reverts:
        message += f"\n\nThis reverts commit {_made(place)[step.reverts]}."
    _write(place, _files(step))
    tree = _git(place, "write-tree")
    branch = _git(place, "commit-tree", tree, "-p", before, "-m", message, author=step.author)
    merge = _git(place, "commit-tree", tree, "-p", before, "-p", branch, "-m", message, author=step.author)
    _git(place, "update-ref", "refs/heads/main", merge)


def _commit(place: Place, files: dict[str, str], subject: str, author: str) -> None:
    _write(place, files)
    commit = _git(place, "commit-tree", _git(place, "write-tree"), "-m", subject, author=author)
    _git(place, "update-ref", "refs/heads/main", commit)


def _files(step: Step) -> dict[str, str]:
    """Return path -> text of every file that a merge may change."""
    lines = [f"export {name}={value}\n" for name, value in {**RECIPE, **step.parameters}.items()]
    about = "# The training's parameters; deepspeech_wer/training/parameters.py lists all of them.\n"
    files = {**sources(), "parameters.sh": "".join([about, *lines]), "README.md": step.readme}
    if step.renamed:
        path, old, new = step.renamed
        files[path] = files[path].replace(old, new)
    return files


def sources() -> dict[str, str]:
    """Return path -> text of the job: a copy of this checkout's training, which the sample repository owns."""
    package = Path(deepspeech_wer.__file__).parent
    script = package.parent / "bin" / "run-wer-automation.sh"
    if not script.is_file():
        raise Trouble(f"{script}: not found: run bin/demo in a checkout of deepspeech_wer")
    found = [package / name for name in MODULES]
    found += sorted(path for path in (package / "training").rglob("*") if path.suffix in (".py", ".ipynb"))
    texts = {str(path.relative_to(package.parent)): path.read_text("utf-8") for path in found}
    return {**texts, "bin/train.sh": script.read_text("utf-8"), "bin/run-wer-automation.sh": JOB}


def _write(place: Place, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = place.sample / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o755 if name.startswith("bin/") else 0o644)
    _git(place, "add", "--force", "--", *files)


def _made(place: Place) -> dict[str, str]:
    """Return subject -> SHA of every merge that was made."""
    if not _git(place, "for-each-ref", "refs/heads/main"):
        return {}
    lines = _git(place, "log", "--first-parent", "--format=%H %s", "main").splitlines()
    return {subject: sha for sha, _, subject in (line.partition(" ") for line in lines)}


def _git(place: Place, *arguments: str, author: str = "Ada") -> str:
    """Run git in the sample and return its output. Raises Trouble with the last line of git's error output."""
    person = {"NAME": author, "EMAIL": f"{author.lower()}@example.com"}
    who = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in person.items()}
    access = Access("", environment={**place.environment(), **who, "GIT_CONFIG_GLOBAL": "/dev/null"})
    try:
        return git.run_git(place.sample, *arguments, access=access)
    except git.GitError as error:
        raise Trouble(f"git {arguments[0]} in {place.sample}: {error}") from None
