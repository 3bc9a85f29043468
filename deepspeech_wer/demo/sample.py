"""The sample repository: a training with a small recipe, and what a team did to it, merge by merge."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import deepspeech_wer
from deepspeech_wer.demo.place import Place
from deepspeech_wer.errors import Trouble
from deepspeech_wer.repository import git
from deepspeech_wer.repository.access import Access

JOB = """\
#!/usr/bin/env bash
# The job, run by the tracker after every merge: this repository's training, told this repository's parameters.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

source "$root/parameters.sh"
exec "$root/bin/train.sh" "$@"
"""

# 30 s of processor time each, on the synthetic corpus as it is by default.
RECIPE = {"ds_importer": "synthetic", "ds_n_hidden": "64", "ds_epochs": "16", "ds_learning_rate": "0.002"}
FASTER_AND_VARIED = {"ds_learning_rate": "0.004", "ds_augment_tempo": "0.1", "ds_augment_pitch": "0.05"}
# Of the package, what the training imports.
MODULES = ("__init__.py", "clock.py", "contract.py", "errors.py", "files.py", "variables.py", "wer.py")
MODEL = "deepspeech_wer/training/model.py"


@dataclass(frozen=True)
class Step:
    """One merge: its subject, and what the repository holds after it."""

    subject: str
    author: str
    parameters: dict[str, str] = field(default_factory=dict)  # beside those of the recipe
    renamed: tuple[str, str, str] | None = None  # (path, old, new): this file says new for old


STEPS = (
    Step("Train a small network for 16 epochs", "Ada"),
    Step("Vary tempo and pitch of the speech, learn twice as fast", "Ben", FASTER_AND_VARIED),
    # Renamed here and not where it is defined: the job breaks once the network is built.
    Step("Call the clip a limit", "Ada", FASTER_AND_VARIED, (MODEL, "parameters.relu_clip", "parameters.relu_limit")),
    Step("Call the limit a clip again", "Ada", FASTER_AND_VARIED),
    Step("Drop out 30 % of each layer", "Ben", {**FASTER_AND_VARIED, "ds_dropout_rate": "0.3"}),
)


def grow(place: Place, merges: int) -> int:
    """See that the repository holds the first so many merges; how many of them are new.

    Each is made whole or not at all: a call that is killed leaves files that the next one writes again.
    """
    if not (place.sample / ".git" / "HEAD").exists():
        place.sample.mkdir(exist_ok=True)
        _git(place, "init", "--quiet", "--template=", "--initial-branch=main")
    made = _subjects(place)
    due = [step for step in STEPS[:merges] if step.subject not in made]
    if due:
        (place.sample / ".git" / "index.lock").unlink(missing_ok=True)  # of a git that was killed
    if due and not made:
        _commit(place, {"README.md": "Speech recognition, for the demo of deepspeech_wer.\n"}, "Start", "Ada")
    for step in due:
        _merge(place, step)
    return len(due)


def _merge(place: Place, step: Step) -> None:
    """Bring in a branch of one commit."""
    before = _git(place, "rev-parse", "main")
    _write(place, _files(step))
    tree = _git(place, "write-tree")
    branch = _git(place, "commit-tree", tree, "-p", before, "-m", step.subject, author=step.author)
    merge = _git(place, "commit-tree", tree, "-p", before, "-p", branch, "-m", step.subject, author=step.author)
    _git(place, "update-ref", "refs/heads/main", merge)


def _commit(place: Place, files: dict[str, str], subject: str, author: str) -> None:
    _write(place, files)
    commit = _git(place, "commit-tree", _git(place, "write-tree"), "-m", subject, author=author)
    _git(place, "update-ref", "refs/heads/main", commit)


def _files(step: Step) -> dict[str, str]:
    """Path -> text of what a merge may change."""
    lines = [f"export {name}={value}\n" for name, value in {**RECIPE, **step.parameters}.items()]
    about = "# What the training is told; deepspeech_wer/training/parameters.py knows more that can be set.\n"
    files = {**sources(), "parameters.sh": "".join([about, *lines])}
    if step.renamed:
        path, old, new = step.renamed
        files[path] = files[path].replace(old, new)
    return files


def sources() -> dict[str, str]:
    """Path -> text of the job: the training of this checkout, which is the sample's own from now on."""
    package = Path(deepspeech_wer.__file__).parent
    script = package.parent / "bin" / "run-wer-automation.sh"
    if not script.is_file():
        raise Trouble(f"{script}: not there: the demo runs from a checkout of deepspeech_wer, by its bin/demo")
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


def _subjects(place: Place) -> set[str]:
    if not _git(place, "for-each-ref", "refs/heads/main"):
        return set()
    return set(_git(place, "log", "--first-parent", "--format=%s", "main").splitlines())


def _git(place: Place, *arguments: str, author: str = "Ada") -> str:
    """Run git in the sample; what it printed. Raises Trouble with git's last words."""
    person = {"NAME": author, "EMAIL": f"{author.lower()}@example.com"}
    who = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in person.items()}
    access = Access("", environment={**place.environment(), **who, "GIT_CONFIG_GLOBAL": "/dev/null"})
    try:
        return git.run_git(place.sample, *arguments, access=access)
    except git.GitError as error:
        raise Trouble(f"git {arguments[0]} in {place.sample}: {error}") from None
