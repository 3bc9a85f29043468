"""The server is killed, at every file and at random bytes, while a visitor loads the page over and over.

What is held each time: no page load sees a mixture, and the next publish finishes it, sending only what was missing.
"""

from __future__ import annotations

import random
import shlex
import stat
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import web_root_lock as lock
from deepspeech_wer.publish.report import Report
from tests.end_to_end.hosts import KINDS, SFTP_SERVER, WebHost, running
from tests.end_to_end.proxy import bad_network
from tests.end_to_end.publishing import files_of, leftovers, load_page, put, version, visited
from tests.end_to_end.sshd import require, running_sshd

KILLS = 13  # of each make of server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server killed between making the lock and writing into it would hold everybody up for 5 s."""
    monkeypatch.setattr(lock, "UNSIGNED_STALE_S", 1.0)


@dataclass
class Score:
    """What became of the kills."""

    killed: int = 0
    half_done: int = 0  # files had arrived, and were not in their places


def publish_again(site: Path, host: WebHost, number: int, score: Score) -> Report:
    """The publish after a kill; checks that it sends what is missing and no more."""
    there = complete(host.root)
    score.half_done += any(file.suffix == ".partial" for file in host.root.rglob("*"))
    missing = {(site / path).read_bytes() for path in files_of(site) if path != "index.htm"} - there
    report = put(site, host.website)
    index = (host.root / "index.htm").stat().st_size
    assert report.size - sum(map(len, missing)) in (0, index), (number, report)
    assert load_page(host.root) == f"version {number} "
    assert set(leftovers(host.root)) <= {lock.LOCK}  # a dead one, where only its removal was missing
    return report


def complete(root: Path) -> set[bytes]:
    """The contents that a killed publish brought to the server; its mode is the last thing that a file gets."""
    return {
        file.read_bytes() for file in root.rglob("*") if file.is_file() and stat.S_IMODE(file.stat().st_mode) == 0o644
    }


def assert_never_mixed(seen: Counter[str]) -> None:
    assert not [what for what in seen if what.startswith(("mixed", "no version"))], seen


@pytest.mark.parametrize("kind", KINDS)
def test_at_random_bytes(tmp_path: Path, kind: str) -> None:
    site, chance, score = tmp_path / "site", random.Random(f"2016-11-16 {kind}"), Score()
    with running(kind, tmp_path / "host") as server, bad_network(server.website.server_port) as network:
        host = server.fresh()
        bad_way = host.also_at(network.port)
        version(site, 1)
        put(site, host.website)
        network.call = host.kill_sessions
        with visited(host.root) as seen:
            for number in range(2, 2 + KILLS):
                version(site, number)
                network.call_after = chance.randrange(2_500, 46_000)
                try:
                    put(site, bad_way)
                except Trouble:
                    score.killed += 1
                network.call_after = None
                host.wait_for_sessions_to_end()
                publish_again(site, host, number, score)
        assert not put(site, host.website).sent
    assert_never_mixed(seen)
    assert score.killed >= KILLS * 0.7  # the others were killed after their last byte
    assert score.half_done >= KILLS * 0.2


def test_at_every_file(tmp_path: Path) -> None:
    """sftp-server and its sshd are killed after the first change that a publish makes, after the second, and so on."""
    require(SFTP_SERVER, "openssh-sftp-server")
    number_of_changes, site, score = tmp_path / "changes", tmp_path / "site", Score()
    relay = [sys.executable, "-I", str(Path(__file__).with_name("relay.py")), str(number_of_changes)]
    command = shlex.join([*relay, str(SFTP_SERVER), "-u", "0022"])
    program = tmp_path / "relay"  # sshd_config takes no blank in a path
    program.write_text(f"#!/bin/sh\nexec {command}\n")
    program.chmod(0o755)
    options = (f"Subsystem sftp {program}", f"SetEnv HOME={tmp_path}")
    with (
        running_sshd(tmp_path / "bad", options=options, sftp=False) as bad,
        running("sshd", tmp_path / "good") as host,
    ):
        website = replace(bad.website, server_root=str(host.root))
        version(site, 1)
        put(site, host.website)
        number = 1
        with visited(host.root) as seen:
            while score.killed == number - 1:
                number += 1
                assert number < 100  # it ends by itself after some forty
                version(site, number)
                number_of_changes.write_text(str(number - 1))
                try:
                    put(site, website)
                except Trouble:
                    score.killed += 1
                bad.wait_for_sessions_to_end()
                publish_again(site, host, number, score)
    assert_never_mixed(seen)
    assert score.killed > 30  # each change of a publish of five files
