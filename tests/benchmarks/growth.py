"""Measures what a large archive costs.

    python -m tests.benchmarks.growth [SIZE ...]

Prints, for archives of SIZE runs (100 1000 10000; 50000 takes half an hour), the CPU seconds, user and system, and the
peak RSS of each command, with its children, in a process of its own. The ticks that publish do so to an sshd on
loopback; for them it prints the bytes that they send. Each merge's job ends at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deepspeech_wer.exit_codes import FAILED
from deepspeech_wer.records import Run, as_json
from tests.benchmarks.tick import JOB
from tests.conftest import Repository
from tests.end_to_end.proxy import Network, bad_network
from tests.end_to_end.sshd import running_sshd
from tests.invented_runs import archive, iso, years

SIZES = (100, 1_000, 10_000)
MOST_YEARS = timedelta(days=3652)


def main() -> None:
    """Measure and print."""
    sizes = [int(word) for word in sys.argv[1:]] or SIZES
    print(f"{'runs':>7}  {'command':<32}{'CPU s':>8}{'MB RSS':>8}{'kB sent':>10}")
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            measure(size, Path(name))


def measure(size: int, home: Path) -> None:
    """Make an archive of `size` runs below `home`, and print a line for each command."""
    repository = Repository(home / "tracked")
    repository.commit("root", {"bin/run-wer-automation.sh": JOB})
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ds_repo_url": f"file://{repository.path}",
        "ds_retrain": "off",  # else a tick may train again what its verdicts suspect
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    runs = home / ".local" / "share" / "deepspeech_wer" / "runs"

    def tell(what: str, words: Sequence[str] = (), sent: Callable[[], int] = int) -> None:
        before = sent()
        cpu_s, rss_mb = cost(words, environment)
        print(f"{size:>7}  {what:<32}{cpu_s:>8.2f}{rss_mb:>8.0f}{(sent() - before) / 1000:>10.1f}", flush=True)

    cost([], environment)
    *most, last = recent(years(size))
    write(most, runs)
    tell("build, all new", ["build"])
    write([last], runs)
    tell("build, one new run", ["build"])
    tell("build, nothing new", ["build"])
    cost([], environment)  # notes what is shown
    repository.merge("to settle")
    tell("tick, the first new merge")  # until then no tick has kept what decides the places of the runs
    repository.merge("one more")
    tell("tick, one new merge")
    for number in range(3):
        repository.merge(f"one of three {number}")
    tell("tick, three new merges")
    tell("tick, nothing new")
    tell("status", ["status"])
    tell("runs", ["runs"])
    with running_sshd(home / "sshd") as server, bad_network(server.port) as network:
        server.also_at(network.port)
        environment |= server.environment() | {"ds_website_server_port": str(network.port)}
        published(repository, tell, network)


def published(repository: Repository, tell: Callable[..., None], network: Network) -> None:
    """Measure ticks that publish."""

    def sent() -> int:
        return network.sent

    tell("publish all", [], sent)
    repository.merge("to settle")  # until then the server's directories are as new as the manifest, and are listed
    tell("tick, the first after that", [], sent)
    repository.merge("to be published")
    tell("tick, one new, published", [], sent)
    for number in range(3):
        repository.merge(f"to be published too {number}")
    tell("tick, three new, published", [], sent)
    tell("tick, nothing new, published", [], sent)


def recent(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with the last of them a day ago and the first at most ten years earlier, evenly compressed."""
    starts = [datetime.fromisoformat(run.started_at) for run in runs]
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    factor = min(1.0, MOST_YEARS / ((starts[-1] - starts[0]) or MOST_YEARS))
    moved = [end - (starts[-1] - start) * factor for start in starts]
    return [_moved(run, start) for run, start in zip(runs, moved, strict=True)]


def _moved(run: Run, start: datetime) -> Run:
    finish = start + timedelta(minutes=5)
    merge = run.merge._replace(committed_at=iso(start - timedelta(minutes=20)))
    record = run.hyper
    if record:
        record = {**record, "context": {**record["context"], "time_started": start.replace(tzinfo=None).isoformat()}}
    name = f"{start:%Y%m%d-%H%M%S}-{merge.sha[:12]}"
    return run._replace(id=name, merge=merge, hyper=record, started_at=iso(start), finished_at=iso(finish))


def cost(words: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return the CPU seconds and the peak RSS in MB of a command.

    A process of our own measures it: the peak RSS of children is that of the largest so far.
    """
    code = (
        "import resource, subprocess, sys; "
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE); "
        f"assert done.returncode in (0, {FAILED}), done.stderr; "  # the invented merges make it worse or better
        "usage = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)"
    )
    command = [sys.executable, "-P", "-c", code, sys.executable, "-P", "-m", "deepspeech_wer", *words]
    done = subprocess.run(command, env=environment, cwd=environment["HOME"], check=True, capture_output=True, text=True)
    cpu_s, rss_mb = map(float, done.stdout.split())
    return cpu_s, rss_mb


def write(runs: list[Run], root: Path) -> None:
    """Write runs as the tracker archives them."""
    for run in archive(runs, root):
        record = as_json(run)
        del record["id"], record["root"], record["hyper"]
        record |= {"version": 1, "base": None, "number": run.merge.ordinal}
        (run.directory / "run.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
