"""Measures checking out a merge of a long history, compared with plain git, in interleaved rounds.

    python -m tests.benchmarks.checkout [ROUNDS]

The history has 3,000 commits over 2,000 files, 25 MB. Prints CPU seconds and wall seconds, medians of ROUNDS (5). A
worktree is the fastest way of plain git, but shares config and hooks with the mirror, which a job must not reach. The
fastest way without that is a separate clone.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deepspeech_wer.repository import checkout, history, mirror
from deepspeech_wer.repository.git import run_git

COMMITS, FILES, FILE_BYTES = 3000, 2000, 12_500


def make_history(path: Path) -> None:
    """Make a repository of that size with git fast-import."""
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(path)], check=True)
    draw = random.Random(1)
    with subprocess.Popen(["git", "-C", str(path), "fast-import", "--quiet"], stdin=subprocess.PIPE) as process:
        assert process.stdin
        for number in range(COMMITS):
            write = process.stdin.write
            write(b"commit refs/heads/main\ncommitter A <a@example.com> %d +0000\ndata 1\nx\n" % (number + 1))
            for file in range(FILES) if number == 0 else [number % FILES]:
                data = draw.randbytes(FILE_BYTES // 2).hex().encode()
                write(b"M 100644 inline d%d/f%d\ndata %d\n%s\n" % (file % 40, file, len(data), data))


def timed(action: Callable[[], None]) -> tuple[float, float]:
    """Return (CPU seconds with children, wall seconds)."""
    before, start = os.times(), time.perf_counter()
    action()
    after = os.times()
    return sum(after[:4]) - sum(before[:4]), time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_history(directory / "tracked")
        bare, clone = directory / "cache" / "repository.git", directory / "clone"
        tip = mirror.update(bare, str(directory / "tracked"), None)
        assert tip
        sha = run_git(bare, "rev-parse", f"{tip}~100")
        merge = history.resolve(bare, [sha])[0]
        run_git(bare, "update-ref", "refs/heads/tracked", tip)

        def ours() -> None:
            with checkout.checked_out(bare, merge, clone, mark=directory / "mark.json", origin="x"):
                pass

        def own_clone() -> None:
            git("clone", "--quiet", "--no-hardlinks", "--no-checkout", str(bare), str(clone))
            git("-C", str(clone), "checkout", "--quiet", "--detach", "--force", sha)
            shutil.rmtree(clone)

        def work_tree() -> None:
            git("-C", str(bare), "worktree", "add", "--quiet", "--detach", str(clone), sha)
            shutil.rmtree(clone)
            git("-C", str(bare), "worktree", "prune")

        ways = {"deepspeech_wer": ours, "separate git clone": own_clone, "git worktree": work_tree}
        figures: dict[str, list[tuple[float, float]]] = {key: [] for key in ways}
        for _ in range(rounds + 1):
            for key, action in ways.items():
                figures[key].append(timed(action))
        report({key: values[1:] for key, values in figures.items()})  # the first round warms up


def git(*arguments: str) -> None:
    """Run git."""
    subprocess.run(["git", *arguments], check=True)


def report(figures: dict[str, list[tuple[float, float]]]) -> None:
    """Print the table."""
    cpu = {key: statistics.median(value for value, _ in values) for key, values in figures.items()}
    wall = {key: statistics.median(value for _, value in values) for key, values in figures.items()}
    print(f"{'':<22}{'CPU s':>7}{'wall s':>8}")
    for key in figures:
        print(f"{key:<22}{cpu[key]:>7.2f}{wall[key]:>8.2f}")
    for other in ("separate git clone", "git worktree"):
        ratio = f"{cpu['deepspeech_wer'] / cpu[other]:.2f} CPU, {wall['deepspeech_wer'] / wall[other]:.2f} wall"
        print(f"deepspeech_wer / {other}: {ratio}")


if __name__ == "__main__":
    main()
