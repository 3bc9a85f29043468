"""The workers of one training: they meet, agree on their settings, exchange results, and end when one of them is lost.

TensorFlow exchanges gradients by itself, and waits for a worker that is gone in ways that depend on the network and
the device. So the workers are in touch by a connection of their own, from each to the chief: its end says at once that
a process has died, and its silence that a machine or the network has. The texts are lines of JSON.
"""

from __future__ import annotations

import json
import os
import queue
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from ..errors import Trouble, UsageTrouble
from ..job_contract import EXIT_INTERRUPTED, INTERRUPTED
from .cluster import Cluster
from .parameters import Parameters
from .quiet import last_words

MEET_S = 300.0  # for all workers to come: they start together, but a file system may be slow
BEAT_S = 5.0
SILENCE_S = 60.0  # after which a worker is taken for lost
PART_S = 10.0  # for the others to end
CURE = "set ds_distribute=slurm:PORT to a port that is free on all nodes, or change TF_CONFIG"
# Settings of each host: where things are, and what only the chief does.
_OWN = (
    "threads",
    "augment_overlay_source",
    "cache_dir",
    "dataset_path",
    "mirror_url",
    "logs_dir",
    "export_dir",
    "lm_path",
    "report_count",
)
_DIFFERENCES = 5  # named, at most
_SHOWN = 60  # characters of a value


@dataclass
class _Peer:
    """The other end of a connection."""

    index: int
    socket: socket.socket
    given: queue.Queue[Any] = field(default_factory=queue.Queue)
    unread: bytes = b""
    heard: float = field(default_factory=time.monotonic)
    has_left: bool = False


class Interrupted(Trouble):
    """The workers did not come together, for a reason that is no fault of what they train."""


class Workers:
    """This process and the others of its training. One that trains alone is its own chief."""

    def __init__(self, cluster: Cluster | None = None) -> None:
        self.addresses = cluster.addresses if cluster else ("",)
        self.index = cluster.index if cluster else 0
        self._peers: dict[int, _Peer] = {}
        self._sending = threading.Lock()
        self._watcher: threading.Thread | None = None
        self._is_leaving = threading.Event()
        self._is_ending = False  # the watcher ends this process

    @property
    def count(self) -> int:
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def meet(self) -> None:
        """Meet the others at the chief's address. Raises Interrupted if one does not come, or a port cannot be used."""
        if self.count == 1:
            return
        listener = self._listen()
        try:
            self._peers = self._gather(listener) if self.is_chief else self._call()
        finally:
            listener.close()  # before TensorFlow listens on the same port
        self._watcher = threading.Thread(target=self._watch, name="workers", daemon=True)
        self._watcher.start()

    def agree(self, record: Mapping[str, object], cure: str) -> None:
        """Raise UsageTrouble on every worker unless all have the same record: of texts, numbers and the like."""
        if self.count == 1:
            return
        records = self.exchange({name: json.loads(json.dumps(one, default=str)) for name, one in record.items()})
        faults = [fault for index, one in enumerate(records) if (fault := self._fault(index, one, records[0]))]
        if faults:
            raise UsageTrouble("\n".join(f"{fault}: {cure}" for fault in faults))

    def _fault(self, index: int, record: dict[str, Any], chiefs: dict[str, Any]) -> str:
        names = [name for name in {**chiefs, **record} if record.get(name) != chiefs.get(name)]
        told = [f"{name} is {_short(record.get(name))}, the chief's {_short(chiefs.get(name))}" for name in names]
        return f"{self._named(index)}: {', '.join(told[:_DIFFERENCES])}" if told else ""

    def exchange(self, value: Any) -> list[Any]:
        """Return what all workers gave, in their order: the same on each of them. All have to call it."""
        if self.count == 1:
            return [value]
        if not self.is_chief:
            self._send(0, {"give": value})  # the watcher ends this process if nothing comes
            return list(self._peers[0].given.get())
        found = [value, *(peer.given.get() for peer in self._peers.values())]
        for index in self._peers:
            self._send(index, {"give": found})
        return found

    @contextmanager
    def chief_first(self) -> Iterator[None]:
        """Let the chief do a block before the others: they find what it has downloaded and computed."""
        if not self.is_chief:
            self.exchange(None)
        yield
        if self.is_chief:
            self.exchange(None)

    def settle(self) -> None:
        """Wait as long as the loss of a worker may go unnoticed; if one is lost, this process ends meanwhile."""
        if self._watcher is not None and (self._is_ending or not self._is_leaving.is_set()):
            self._watcher.join(SILENCE_S + BEAT_S)

    def wait_for_the_end(self) -> None:
        """Wait until the chief has ended, and end with its exit code; never returns."""
        while True:
            self._peers[0].given.get()

    def leave(self, code: int, said: str = "") -> None:
        """Tell the others that this process ends, with which exit code and last words: they do the same."""
        if self._is_ending:
            self.settle()  # the watcher has the last word, and its exit code counts
        if self._watcher is None or self._is_leaving.is_set():
            return
        self._is_leaving.set()
        for index in self._peers:
            self._send(index, {"end": code, "said": said})
            with suppress(OSError):
                self._peers[index].socket.shutdown(socket.SHUT_WR)
        # Their connections end when they have read it. One that is closed with something unread loses what was sent.
        self._watcher.join(PART_S)

    def _listen(self) -> socket.socket:
        """Return a socket at this worker's own port. Only the chief's is used; the others are tried out."""
        host, port = _split(self.addresses[self.index])
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
            listener.listen(self.count)
        except OSError as error:
            listener.close()
            raise Interrupted(f"{host}:{port}: the port cannot be bound: {error.strerror}: {CURE}") from error
        return listener

    def _gather(self, listener: socket.socket) -> dict[int, _Peer]:
        """Return the connections of all other workers, as they come to the chief. Raises Interrupted."""
        deadline, found = time.monotonic() + MEET_S, dict[int, _Peer]()
        while len(found) < self.count - 1:
            listener.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                missing = ", ".join(self._named(one) for one in range(1, self.count) if one not in found)
                raise Interrupted(
                    f"{missing}: did not come within {MEET_S:g} s: expected all {self.count} workers: look at their "
                    "output, and whether their nodes reach the chief's"
                ) from None
            peer = _welcome(connection, self.count)
            if peer is None or peer.index in found:
                connection.close()  # whoever that was
            else:
                found[peer.index] = peer
        for peer in found.values():
            peer.socket.sendall(_line({"welcome": self.count}))
        return dict(sorted(found.items()))

    def _call(self) -> dict[int, _Peer]:
        """Return the connection to the chief, which may come later than this worker. Raises Interrupted."""
        deadline, said = time.monotonic() + MEET_S, "no answer"
        while time.monotonic() < deadline:
            try:
                connection = socket.create_connection(_split(self.addresses[0]), timeout=5)
                connection.sendall(_line({"hello": self.index, "count": self.count}))
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                if _first_line(connection) == _line({"welcome": self.count}):
                    return {0: _ready(0, connection)}
                connection.close()
                said = "it ended, or expects another number of workers"
            except OSError as error:
                said = error.strerror or str(error)
            time.sleep(0.2)
        raise Interrupted(
            f"{self._named(0)}: cannot be reached from worker {self.index} within {MEET_S:g} s: {said}: look at its "
            "output, and whether the nodes reach each other"
        )

    def _send(self, index: int, record: Mapping[str, object]) -> None:
        with suppress(OSError), self._sending:  # a worker that is gone is the watcher's affair
            self._peers[index].socket.sendall(_line(record))

    def _watch(self) -> None:
        """Read what the others send, until all have left. Ends this process if one of them is lost or has ended."""
        with selectors.DefaultSelector() as selector:
            for peer in self._peers.values():
                selector.register(peer.socket, selectors.EVENT_READ, peer)
            self._hear()
            beaten = looked = time.monotonic()
            while selector.get_map():
                for key, _ in selector.select(BEAT_S / 5):
                    self._read(key.data)
                    if key.data.has_left:
                        selector.unregister(key.fileobj)
                now = time.monotonic()
                if now - looked > SILENCE_S / 2:  # this process was stopped for so long, and perhaps the others, too
                    self._hear()
                looked = now
                if now - beaten > BEAT_S:
                    beaten = now
                    for index in self._peers:
                        self._send(index, {"beat": 1})
                silent = [one for one in self._peers.values() if now - one.heard > SILENCE_S and not one.has_left]
                if silent and not self._is_leaving.is_set():
                    self._lost(silent[0].index, f"was not heard of for {SILENCE_S:g} s")

    def _hear(self) -> None:
        for peer in self._peers.values():
            peer.heard = time.monotonic()

    def _read(self, peer: _Peer) -> None:
        try:
            data = peer.socket.recv(1 << 20)
        except OSError:
            data = b""
        peer.heard = time.monotonic()
        if not data:
            peer.has_left = True
            if not self._is_leaving.is_set():
                self._lost(peer.index, "is gone")
            return
        *lines, peer.unread = (peer.unread + data).split(b"\n")
        for line in lines:
            record = json.loads(line)
            if "give" in record:
                peer.given.put(record["give"])
            elif "end" in record and not self._is_leaving.is_set():
                self._end(int(record["end"]), str(record["said"]))

    def _lost(self, index: int, how: str) -> None:
        cure = "look at its node and its output; the next attempt resumes the checkpoint"
        self._end(EXIT_INTERRUPTED, f"{INTERRUPTED} {self._named(index)} {how}: {cure}")

    def _end(self, code: int, said: str) -> None:
        """End this process, whatever its main thread waits for, and tell the others why. In the watcher's thread."""
        self._is_ending = True
        self._is_leaving.set()
        for index in self._peers:
            self._send(index, {"end": code, "said": said})
            with suppress(OSError):
                self._peers[index].socket.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + PART_S
        for peer in self._peers.values():
            with suppress(OSError):
                while not peer.has_left and time.monotonic() < deadline:
                    peer.socket.settimeout(max(0.01, deadline - time.monotonic()))
                    peer.has_left = not peer.socket.recv(1 << 20)
        if said:  # at the very end: TensorFlow writes lines of its own when a worker is gone
            last_words(said)
        os._exit(code)

    def _named(self, index: int) -> str:
        return f"{'the chief' if index == 0 else f'worker {index}'} ({self.addresses[index]})"


ALONE = Workers()
_JOINED: list[Workers] = []  # those of this process, so that its end can be told however it comes


def join(parameters: Parameters, cluster: Cluster | None) -> Workers:
    """Meet the other workers of a cluster, and return them all; None: this process trains alone.

    The chief alone prints on standard output. Raises Interrupted if one does not come, and UsageTrouble if they differ
    in their settings or libraries.
    """
    if cluster is None:
        return ALONE
    workers = Workers(cluster)
    workers.meet()
    _JOINED.append(workers)
    if not workers.is_chief:
        sys.stdout.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    settings = {f"ds_{name}": value for name, value in asdict(parameters).items() if name not in _OWN}
    libraries = {name: version(name) for name in ("tensorflow", "numpy")}
    workers.agree({**settings, **libraries}, "start all workers with the same settings, and the same Python")
    return workers


def explain(error: BaseException) -> None:
    """Give the loss of a worker, from which an unexpected error may come, the time to be noticed: it ends this process.

    TensorFlow raises an OpError wherever it notices that a worker is gone, and may notice it first.
    """
    if "OpError" in (one.__name__ for one in type(error).__mro__):
        for workers in _JOINED:
            workers.settle()


def have_joined() -> bool:
    """Return whether this process trains with others."""
    return bool(_JOINED)


def leave(code: int, said: str = "") -> None:
    """Tell the other workers of this process, if it has joined some, that it ends; see Workers.leave."""
    for workers in _JOINED:
        workers.leave(code, said)


def _welcome(connection: socket.socket, count: int) -> _Peer | None:
    """Return who connects to the chief; None if that is no worker of this training."""
    connection.settimeout(5)
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(_first_line(connection))
        if record["count"] == count and 0 < record["hello"] < count:
            return _ready(record["hello"], connection)
    return None


def _first_line(connection: socket.socket) -> bytes:
    """Read a line and nothing of the next one. Raises OSError."""
    text = b""
    while not text.endswith(b"\n") and len(text) < 200 and (data := connection.recv(1)):
        text += data
    return text


def _ready(index: int, connection: socket.socket) -> _Peer:
    connection.settimeout(SILENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Peer(index, connection)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _line(record: Mapping[str, object]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
