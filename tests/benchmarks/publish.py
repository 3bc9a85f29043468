"""Measures publishing, compared with other programs: `python -m tests.benchmarks.publish`.

Cases:
    a  500 files of 4 KB, new          c  the same again, unchanged        d  one of them, of 2 MB, changed
    b  one file of 50 MB, new          e  one more run on a site of 10,000 runs (20,000 files, 8 MB of changed data)
The programs take turns in each round, against one sshd on loopback, directly or through a proxy with --delay-ms.
Prints each median in seconds and its ratio to rsync, and for Python programs the same without start-up (interpreter and
imports, measured once per round). Programs that send everything again are left out of e. Programs that wait for a reply
to each file run over a delay only with --slow, and so does lftp in e, which takes minutes.

Needs rsync, lftp, and OpenSSH's client and server (apt-get install rsync lftp openssh-client openssh-server);
asyncssh comes with bin/install test.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.sshd import HOST, Sshd, running_sshd

REPOSITORY = Path(__file__).parents[2]
A_TRIP_EACH = {"sftp -b", "pysftp 2016"}  # one to five round trips per file
EVERYTHING_ANEW = {*A_TRIP_EACH, "asyncssh"}

OURS = """
import os, sys
from pathlib import Path
from deepspeech_wer.publish.publisher import publish
from deepspeech_wer.configuration.settings import Website
site, root, user, host, port, key, known = sys.argv[1:]
def walk(directory, prefix=''):
    for entry in os.scandir(directory):
        if entry.is_dir():
            yield from walk(entry.path, prefix + entry.name + '/')
        else:
            yield prefix + entry.name
website = Website(user, host, int(port), Path(key), None, Path(known), root, (0o644, 0o755))
publish(Path(site), list(walk(site)), website)
"""
PYSFTP_2016 = """
import os, sys, paramiko
paramiko.DSSKey = paramiko.RSAKey
import pysftp
site, root, user, host, port, key, known = sys.argv[1:]
options = pysftp.CnOpts(known)
options.hostkeys = None  # pysftp does not understand [host]:port
os.chdir(site)
paths = [os.path.relpath(os.path.join(d, f), '.') for d, _, fs in os.walk('.') for f in fs]
pysftp.Connection._set_authentication = lambda self, *a: self._tconnect.update(pkey=paramiko.PKey.from_path(key))
with pysftp.Connection(host, username=user, port=int(port), cnopts=options) as sftp:
    with sftp.cd(root):
        for d in sorted({os.path.dirname(p) for p in paths} - {''}):
            if not sftp.isdir(d):
                sftp.makedirs(d)
        for p in paths:
            if os.path.dirname(p):
                with sftp.cd(os.path.dirname(p)):
                    sftp.put(os.path.abspath(p))
            else:
                sftp.put(p)
"""
ASYNCSSH = """
import asyncio, os, sys, asyncssh
site, root, user, host, port, key, known = sys.argv[1:]
async def main():
    limit = asyncio.Semaphore(64)
    async with asyncssh.connect(host, int(port), username=user, client_keys=[key], known_hosts=known) as connection:
        async with connection.start_sftp_client() as sftp:
            async def put(path):
                async with limit:
                    await sftp.put(os.path.join(site, path), f'{root}/{path}')
            paths = [os.path.relpath(os.path.join(d, f), site) for d, _, fs in os.walk(site) for f in fs]
            for d in sorted({os.path.dirname(p) for p in paths} - {''}):
                await sftp.makedirs(f'{root}/{d}', exist_ok=True)
            await asyncio.gather(*map(put, paths))
asyncio.run(main())
"""
STARTS = {  # start-up code of the Python programs
    "ours": "import deepspeech_wer.publish.publisher",
    "pysftp 2016": "import paramiko; paramiko.DSSKey = paramiko.RSAKey; import pysftp",
    "asyncssh": "import asyncssh",
}


@dataclass(frozen=True)
class Way:
    """How to reach the server, and which site goes to which web root."""

    server: Sshd
    port: int
    site: Path
    root: Path

    def ssh(self) -> list[str]:
        options = {
            "UserKnownHostsFile": self.server.known_hosts,
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
        }
        given = [f"-o{name}={value}" for name, value in options.items()]
        return ["-F", "none", "-i", str(self.server.key), *given]


def rsync(way: Way) -> list[str]:
    shell = f"ssh -p {way.port} {' '.join(way.ssh())}"
    return ["rsync", "-a", "-e", shell, f"{way.site}/", f"{getpass.getuser()}@{HOST}:{way.root}/"]


def sftp(way: Way) -> list[str]:
    batch = way.root.parent / "batch"
    batch.write_text(f"lcd {way.site}\ncd {way.root}\nput -r .\n")
    return ["sftp", "-q", *way.ssh(), "-P", str(way.port), "-b", str(batch), f"{getpass.getuser()}@{HOST}"]


def lftp(way: Way) -> list[str]:
    connect = f"ssh -a -x {' '.join(way.ssh())}"
    script = (
        f"set sftp:connect-program '{connect}'; set sftp:auto-confirm yes; open -p {way.port} "
        f"sftp://{getpass.getuser()}:@{HOST}; mirror -R --parallel=8 {way.site} {way.root}; bye"
    )
    return ["lftp", "--norc", "-c", script]


def python(code: str) -> Callable[[Way], list[str]]:
    def command(way: Way) -> list[str]:
        paths = [str(way.site), str(way.root), getpass.getuser(), HOST, str(way.port)]
        return [sys.executable, "-c", code, *paths, str(way.server.key), str(way.server.known_hosts)]

    return command


PROGRAMS: dict[str, Callable[[Way], list[str]]] = {
    "rsync": rsync,
    "ours": python(OURS),
    "lftp": lftp,
    "asyncssh": python(ASYNCSSH),
    "sftp -b": sftp,
    "pysftp 2016": python(PYSFTP_2016),
}


def seconds(command: list[str]) -> float:
    """Run a program and return its duration in seconds. Raises if it fails: a failure must not count as a time."""
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800, check=False
    )
    taken = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-1000:]}")
    return taken


def small_site(site: Path) -> None:
    for number in range(499):
        write(site / f"js/{number}.js", (f"{number} ".encode() * 2000)[:4096])
    write(site / "js/data.js", os.urandom(2_000_000))


def big_site(site: Path) -> None:
    write(site / "index.htm", b'<script src="js/index.js"></script>')
    for number in range(10_000):
        write(site / f"runs/{number}.js", b"wer.run({})" * 20)
        write(site / f"runs/{number}/hyper.json", b"{}" * 200)
    one_run_more(site, 0)


def one_run_more(site: Path, number: int) -> None:
    write(site / f"runs/x{number}.js", b"wer.run({})" * 20)
    write(site / f"runs/x{number}/hyper.json", b"{}" * 200)
    line = b'{"context":{"time_started":"2016-11-16T10:00:00"},"results":{"test_wer":0.36}}\n'
    write(site / "js/hyper.js", line * 100_000 + b"%d\n" % number)
    write(site / "js/index.js", os.urandom(453_000))


def write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def emptied(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()


def start(name: str) -> float:
    """Return the start-up time of a Python program in seconds."""
    return seconds([sys.executable, "-c", STARTS[name]]) if name in STARTS else 0.0


def takes_part(name: str, case: str, given: argparse.Namespace) -> bool:
    if case == "e":
        return name not in EVERYTHING_ANEW and (given.slow or name != "lftp")
    return given.slow or not given.delay_ms or name not in A_TRIP_EACH


def measure(
    way: Callable[[Path, Path, bool], Way], base: Path, programs: list[str], given: argparse.Namespace
) -> dict[tuple[str, str], list[float]]:
    """Return the seconds per round of each case and program; case "" is the start-up."""
    found: dict[tuple[str, str], list[float]] = {}
    roots = {name: base / re.sub(r"\W", "_", name) for name in programs}
    small, large, big = (base / name for name in ("small", "large", "big"))
    small_site(small)
    write(large / "big.bin", os.urandom(50_000_000))
    if "e" in given.cases:
        big_site(big)
        for name, root in roots.items():
            if takes_part(name, "e", given):
                emptied(root.with_name(f"{root.name}_big"))
                for number in (-1, 0):  # twice, so that the site is an old one
                    one_run_more(big, number)
                    seconds(PROGRAMS[name](way(big, root.with_name(f"{root.name}_big"), True)))
                    time.sleep(1)
    for turn in range(given.rounds):
        for name in programs:
            found.setdefault(("", name), []).append(start(name))
        for case in given.cases:
            if case == "d":
                write(small / "js/data.js", os.urandom(2_000_000))
            if case == "e":
                one_run_more(big, turn + 1)
            for name in programs:
                if not takes_part(name, case, given):
                    continue
                root = roots[name].with_name(roots[name].name + {"b": "_large", "e": "_big"}.get(case, ""))
                if case in "ab":
                    emptied(root)
                site = {"b": large, "e": big}.get(case, small)
                found.setdefault((case, name), []).append(seconds(PROGRAMS[name](way(site, root, False))))
    return found


def show(found: dict[tuple[str, str], list[float]], cases: str, programs: list[str]) -> None:
    print("| program | " + " | ".join(cases) + " |\n| --- |" + " --- |" * len(cases))
    for name in programs:
        start_s = statistics.median(found["", name])
        for less, label in [(0.0, name), (start_s, f"{name} less its start of {start_s:.2f} s")]:
            if label != name and not less:
                continue
            cells = []
            for case in cases:
                taken = found.get((case, name))
                beside = found.get((case, "rsync"))
                value = statistics.median(taken) - less if taken else None
                ratio = f" ({value / statistics.median(beside):.2f})" if value is not None and beside else ""
                cells.append("" if value is None else f"{value:.2f}{ratio}")
            print(f"| {label} | " + " | ".join(cells) + " |")


@contextmanager
def reached(server: Sshd, delay_ms: float) -> Iterator[int]:
    """Yield the port of the server, or of a proxy with the delay."""
    if not delay_ms:
        yield server.port
        return
    command = [sys.executable, "-m", "tests.end_to_end.proxy", str(server.port), str(delay_ms / 1000)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            port = int(proxy.stdout.readline())
            server.also_at(port)
            yield port
        finally:
            proxy.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delay-ms", type=float, default=0, help="one way; 20 makes a round trip of 40 ms")
    parser.add_argument("--cases", default="abcde", help="c and d need a")
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--slow", action="store_true", help="include programs that take minutes over a delay")
    given = parser.parse_args()
    programs = given.programs.split(",")
    with (
        tempfile.TemporaryDirectory() as directory,
        running_sshd(Path(directory) / "sshd") as server,
        reached(server, given.delay_ms) as port,
    ):

        def way(site: Path, root: Path, straight: bool) -> Way:
            return Way(server, server.port if straight else port, site, root)

        found = measure(way, Path(directory), programs, given)
        print(f"{given.rounds} rounds, {given.delay_ms:g} ms one way; seconds (ratio to rsync)")
        show(found, given.cases, programs)


if __name__ == "__main__":
    main()
