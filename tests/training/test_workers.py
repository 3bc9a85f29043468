"""Workers meet, agree, exchange results, and end together. Without TensorFlow: the connections are the workers' own."""

from __future__ import annotations

import json
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.training import workers
from deepspeech_wer.training.cluster import Cluster
from deepspeech_wer.training.parameters import Parameters
from deepspeech_wer.training.workers import ALONE, Interrupted, Workers
from tests.waiting import until

WAIT_S = 60


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses, below those that the kernel gives away meanwhile. Other tests draw others."""
    found: set[int] = set()
    while len(found) < count:
        port = 12_000 + secrets.randbelow(8_000)
        with suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            found.add(port)
    return sorted(found)


@pytest.fixture
def addresses() -> tuple[str, ...]:
    return tuple(f"127.0.0.1:{port}" for port in free_ports(3))


# A worker as a process of its own: the end of one is the end of its process. It prints what it finds, as JSON.
PROCESS = """
import json, sys, time
from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import workers
from deepspeech_wer.training.cluster import Cluster
from deepspeech_wer.training.parameters import Parameters
given = json.loads(sys.argv[1])
workers.BEAT_S, workers.SILENCE_S, workers.PART_S = 0.2, given["silence_s"], 2
one = workers.Workers(Cluster(tuple(given["addresses"]), given["index"]))
one.meet()
print("met", flush=True)
def tell(value):
    print(json.dumps(value), flush=True)
    time.sleep(0.2)
def fail(code, said):
    print(said, file=sys.stderr, flush=True)
    one.leave(code, said)
    sys.exit(code)
try:
    exec(given["code"])
except Trouble as trouble:
    fail(2, str(trouble))
if given["index"]:
    one.wait_for_the_end()
one.leave(0)
"""


@dataclass
class Ended:
    code: int
    found: list[Any]  # what it told
    last: str  # line on standard error


@dataclass
class Running:
    directory: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, given: dict[str, Any]) -> None:
        number = len(self.processes)
        with (self.directory / f"out{number}").open("wb") as out, (self.directory / f"err{number}").open("wb") as err:
            command = [sys.executable, "-c", PROCESS, json.dumps(given)]
            self.processes.append(subprocess.Popen(command, stdout=out, stderr=err))

    def said(self, number: int, stream: str = "out") -> list[str]:
        return (self.directory / f"{stream}{number}").read_text().splitlines()

    def ended(self, number: int) -> Ended:
        code = self.processes[number].wait(WAIT_S)
        found = [json.loads(line) for line in self.said(number)[1:]]
        return Ended(code, found, "".join(self.said(number, "err")[-1:]))

    def ends(self) -> list[Ended]:
        return [self.ended(number) for number in range(len(self.processes))]


@pytest.fixture
def start(addresses: tuple[str, ...], tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts three workers that run some code, and waits until they have met; `first` runs while the chief is alone."""
    running = Running(tmp_path)

    def run(code: str, silence_s: float = 30, first: Callable[[], None] = lambda: None) -> Running:
        for index in range(3):
            running.start({"addresses": addresses, "index": index, "code": code, "silence_s": silence_s})
            if index == 0:
                first()
        until(lambda: all(running.said(number) or one.poll() for number, one in enumerate(running.processes)), WAIT_S)
        return running

    yield run
    for one in running.processes:
        one.kill()
        one.wait(WAIT_S)


def test_a_process_that_trains_alone_is_its_own_chief() -> None:
    assert (ALONE.count, ALONE.is_chief, ALONE.exchange("x")) == (1, True, ["x"])
    ALONE.agree({"a": 1}, "")
    with ALONE.chief_first():
        ALONE.leave(0)
    assert workers.join(Parameters(), None) is ALONE


def test_all_workers_get_what_each_gave_in_their_order(start: Callable[..., Running]) -> None:
    ends = start("for n in range(3): tell(one.exchange({'index': one.index, 'loss': 0.1 + n}))").ends()

    expected = [[{"index": index, "loss": 0.1 + number} for index in range(3)] for number in range(3)]
    assert [one.found for one in ends] == [expected] * 3
    assert [one.code for one in ends] == [0, 0, 0]


def test_the_chief_does_its_block_before_the_others(start: Callable[..., Running]) -> None:
    block = "begun = time.time(); time.sleep(0.2); tell([begun, time.time()])"
    code = f"with one.chief_first(): {block}\none.exchange(0)"
    (_, chief_ended), *others = (one.found[0] for one in start(code).ends())

    assert all(begun > chief_ended - 0.3 for begun, _ in others)


def test_workers_that_differ_are_all_told_how(start: Callable[..., Running], addresses: tuple[str, ...]) -> None:
    code = "one.agree({'ds_epochs': 40, 'ds_learning_rate': 0.002 + (one.index == 2)}, 'use the same settings')"
    ends = start(code).ends()

    told = f"worker 2 ({addresses[2]}): ds_learning_rate is 1.002, the chief's 0.002: use the same settings"
    assert [(one.code, one.last) for one in ends] == [(2, told)] * 3


def test_strangers_at_the_chiefs_port_are_ignored(start: Callable[..., Running], addresses: tuple[str, ...]) -> None:
    host, port = addresses[0].split(":")

    def call() -> None:
        until(lambda: is_answering(host, int(port)))
        for words in (b"GET / HTTP/1.1\n", b'{"hello": 9, "count": 3}\n', b'{"hello": "x"}\n', b""):
            with suppress(OSError), socket.create_connection((host, int(port)), timeout=2) as stranger:
                stranger.sendall(words)

    ends = start("tell(one.exchange(one.index))", first=call).ends()
    assert [one.found for one in ends] == [[[0, 1, 2]]] * 3


def is_answering(host: str, port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((host, port)) == 0


def test_a_port_that_is_taken_is_told(addresses: tuple[str, ...]) -> None:
    with socket.socket() as other:
        host, port = addresses[1].split(":")
        other.bind((host, int(port)))
        other.listen()
        with pytest.raises(
            Interrupted, match=rf"{addresses[1]}: the port cannot be bound: Address already in use: set"
        ):
            Workers(Cluster(addresses, 1)).meet()


def test_workers_that_do_not_come_are_named(addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MEET_S", 0.3)
    with pytest.raises(
        Interrupted, match=r"worker 1 \(.*\), worker 2 \(.*\): did not come within 0.3 s: expected all 3"
    ):
        Workers(Cluster(addresses, 0)).meet()
    with pytest.raises(Interrupted, match=r"the chief \(.*\): cannot be reached from worker 1 within 0.3 s: .*refused"):
        Workers(Cluster(addresses, 1)).meet()


@pytest.mark.parametrize(("lost", "name"), [(0, "the chief"), (2, "worker 2")])
def test_a_killed_worker_ends_the_others(
    start: Callable[..., Running], addresses: tuple[str, ...], lost: int, name: str
) -> None:
    running = start("one.exchange(0) if one.index else time.sleep(60)")
    running.processes[lost].kill()

    found = running.ends()

    told = f"interrupted: {name} ({addresses[lost]}) is gone: look at its node and its output; "
    assert [one.code for one in found] == [-signal.SIGKILL if index == lost else 75 for index in range(3)]
    assert all(one.last.startswith(told) for index, one in enumerate(found) if index != lost)


def test_a_worker_that_falls_silent_ends_the_others(start: Callable[..., Running]) -> None:
    running = start("one.exchange(0) if one.index else time.sleep(60)", silence_s=1.5)
    running.processes[1].send_signal(signal.SIGSTOP)

    ends = [running.ended(number) for number in (0, 2)]

    assert [one.code for one in ends] == [75, 75]
    assert all("worker 1 (127.0.0.1:" in one.last and "was not heard of for 1.5 s" in one.last for one in ends)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_worker_that_fails_gives_all_its_code_and_its_last_words(start: Callable[..., Running], failing: int) -> None:
    ends = start(f"fail(65, 'diverged: the loss is nan') if one.index == {failing} else one.exchange(0)").ends()

    assert [(one.code, one.last) for one in ends] == [(65, "diverged: the loss is nan")] * 3
