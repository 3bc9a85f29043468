"""Writes docs/transcript.md: each command on the demo's data, with what it says.

    bin/demo --no-serve && .venv/bin/python -m tests.transcript demo >docs/transcript.md

It works on a copy of the demo's directory, so that the demo stays as it is. Paths, ports and names of this machine are
replaced. A long output is cut.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepspeech_wer.demo import sftp_server
from deepspeech_wer.demo.place import Place

LEAST_LINES, MOST_LINES = 12, 60  # of JSON and schemas; of words
DEADLINE_S = 600.0
TICK = (sys.executable, "-P", "-m", "deepspeech_wer")
START = """# A transcript

Each command on the demo's data, as an operator sees it. `python -m tests.transcript` makes this page from a finished
demo; it replaces paths, ports and names of the machine, and cuts long outputs. [commands.md](commands.md) explains the
commands.
"""


@dataclass
class Transcript:
    """Runs commands in the copied demo and notes what they say."""

    place: Place
    source: Path  # the demo that was copied: its logs name it
    environment: Mapping[str, str]
    lines: list[str] = field(default_factory=lambda: [START])

    def title(self, text: str, about: str = "") -> None:
        self.lines += [f"## {text}\n", *([f"{about}\n"] if about else [])]

    def __call__(self, *arguments: str, most: int = MOST_LINES, **variables: str) -> str:
        """Run a command and note it; with `--json`, its beginning alone. Returns what it printed."""
        done = subprocess.run(
            [*TICK, *arguments],
            env={**self.environment, **variables},
            cwd=self.place.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        given = "".join(f"{name}={value} " for name, value in variables.items())
        said = done.stdout.splitlines()
        most = min(most, LEAST_LINES) if "--json" in arguments else most
        shown = said[:most] + ([f"... ({len(said) - most} more lines)"] if len(said) > most else [])
        code = [f"[exit code {done.returncode}]"] if done.returncode else []
        block = [f"$ {given}deepspeech-wer {shlex.join(arguments)}".rstrip(), *shown, *code]
        self.lines += [*(f"    {self.neutral(line)}".rstrip() for line in block), ""]
        return done.stdout

    def neutral(self, line: str) -> str:
        """Replace what names this machine."""
        known = {
            str(self.place.root): "/home/ada/demo",
            str(self.source): "/home/ada/demo",
            sys.prefix: "/home/ada/venv",
            str(Path(__file__).parents[1]): "/home/ada/deepspeech_wer",
            os.uname().nodename: "train-1",
        }
        for text, other in known.items():
            line = line.replace(text, other)
        line = re.sub(rf"\b(by|as|for) {re.escape(getpass.getuser())}\b", r"\1 ada", line)
        line = line.replace(f'"{getpass.getuser()}"', '"ada"')
        line = re.sub(r"(127\.0\.0\.1(:| port )|http://127\.0\.0\.1:)\d+", r"\g<1>8022", line)
        line = re.sub(r"^(ds_website_server_port +)\d+ *", r"\g<1>8022                             ", line)
        return re.sub(r"/tmp/check-job-\w+", "/tmp/check-job-x", line)


def copied(demo: Path, top: Path) -> Place:
    """Copy a finished demo. Its notes of where it lies are left out, as for a move (docs/operation.md)."""
    place = Place(top / "demo")
    shutil.copytree(demo, place.root, symlinks=True)
    for directory in (place.cache, place.data):
        (directory / "tracker.json").unlink(missing_ok=True)
    return place


def merge(place: Place, subject: str) -> str:
    """Add a merge to the tracked repository, and return its SHA."""
    who = ("-c", "user.name=Ben", "-c", "user.email=ben@example.com")

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(place.sample), *who, *arguments]
        return subprocess.run(command, env=place.environment(), capture_output=True, text=True, check=True).stdout

    branch = git("symbolic-ref", "--short", "HEAD").strip()
    git("checkout", "-q", "-b", "topic")
    git("commit", "-q", "--allow-empty", "-m", subject)
    git("checkout", "-q", branch)
    git("merge", "-q", "--no-ff", "-m", subject, "topic")
    git("branch", "-q", "-D", "topic")
    return git("rev-parse", "HEAD").strip()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the tick did not start its job within a minute")
        time.sleep(0.1)


def inspect(run: Transcript) -> dict[str, str]:
    """Note the commands that only tell something. Returns the commits of the demo by their verdicts."""
    run.title("check and settings", "What a tick needs, and what is set.")
    run("check")
    run("check", "--json")
    run("settings")
    run("settings", "--json")
    run.title("status")
    run("status")
    run("status", "--json")
    run.title("runs and show")
    run("runs")
    listed = json.loads(run("runs", "--json"))
    last = next(one["run"] for one in reversed(listed) if one["status"] == "done")
    run("show", last)
    run("show", "--json", last)
    run("show", "no-such-run")
    run.title("verdicts and compare")
    run("verdicts")
    verdicts = {one["verdict"]: one["sha"] for one in json.loads(run("verdicts", "--json"))}
    first, worse = listed[0]["sha"][:12], verdicts.get("worse", listed[-1]["sha"])[:12]
    run("compare", first, worse)
    run("compare", "--json", first, worse)
    run("compare", "--markdown", first, worse)
    run.title("schema")
    run("schema", "hyper", most=LEAST_LINES)
    run.title("overview")
    run("overview")
    run("overview", "--json")
    return verdicts


def act(run: Transcript, verdicts: Mapping[str, str]) -> None:
    """Note the commands that decide something, and a job that is cancelled."""
    run.title("skip and retry", "A merge that was not trained yet, and one that failed.")
    skipped, cancelled = merge(run.place, "Document the decoder"), merge(run.place, "Widen the layers")
    run("run", "--dry-run")
    run("skip", skipped[:12], "--why", "documentation only")
    failed = verdicts.get("failed", "")[:12]
    run("retry", failed)
    run("status")
    run("retry")
    run.title("accept")
    run("accept", verdicts.get("worse", cancelled)[:12], "--why", "the price of streaming")
    run("accept", cancelled[:12], "--why", "it has not run yet")
    run.title("calibrate", "Measures the noise of one training.")
    run("calibrate", "--runs", "4")
    run("calibrate", "--show")
    run("calibrate", "--stop")
    cancel(run)
    run.title("import", "Results of an earlier tracker.")
    old = {"context": {"time_started": "2016-11-16T10:00:00", "git_hash": "0" * 40}, "parameters": {"epochs": 50}}
    (run.place.root / "2016").mkdir()
    (run.place.root / "2016" / "hyper.json").write_text(json.dumps({**old, "results": {"test_wer": 0.36}}))
    (run.place.root / "2016" / "broken").mkdir()
    (run.place.root / "2016" / "broken" / "hyper.json").write_text('{"results": ')
    run("import", "2016")
    run("import", "2016")
    run.title("prune")
    run("prune", "--keep", "0", "--dry-run")
    run("prune", "--keep", "0")
    run.title("build and publish")
    run("build")
    run("publish", "--dry-run", most=LEAST_LINES)
    run("publish", most=LEAST_LINES)


def cancel(run: Transcript) -> None:
    """Note a running job, and its end."""
    run.title("cancel", "A tick in the background trains; its job here only waits.")
    job = run.place.root / "waiting-job"
    job.write_text("#!/bin/sh\necho 'epoch 1/14, train loss 31.2, validation loss 29.8'\nexec sleep 600\n")
    job.chmod(0o755)
    environment = {**run.environment, "ds_wer_automation": str(job)}
    with subprocess.Popen(TICK, env=environment, cwd=run.place.root, stderr=subprocess.PIPE, text=True) as tick:
        until(lambda: any(run.place.data.glob("work/*/job.json")))
        time.sleep(2)  # the job says its line
        run("status")
        run("cancel")
        until(lambda: not any(run.place.data.glob("work/*/job.json")))
        tick.terminate()  # it would go on with what else is due
        _, said = tick.communicate(timeout=DEADLINE_S)
    run.lines += ["Meanwhile the tick said:", "", *(f"    {run.neutral(line)}" for line in said.splitlines()), ""]
    run("status", most=20)


def main(arguments: Sequence[str]) -> int:
    """Print the page."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "sample").is_dir():
        print("expected the directory of a finished demo: run bin/demo --no-serve first", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="transcript-") as top:
        source = Path(arguments[0]).resolve()
        place = copied(source, Path(top))
        with sftp_server.running(place) as website:
            run = Transcript(place, source, {**place.environment(), **website})
            verdicts = inspect(run)
            act(run, verdicts)
            run.title("check-job", "The job of a checkout, once, outside the tracker.")
            run("check-job", "sample", most=20)
            run("check-job", "nowhere")
    print("\n".join(run.lines).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
