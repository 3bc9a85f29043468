"""SFTP version 3 with many requests in flight on one channel (draft-ietf-secsh-filexfer-02; OpenSSH's PROTOCOL).

paramiko's client waits for every reply (40 ms each, over a continent) and throws away those of its pipelined writes,
so that a full disk leaves zeros in a file and no error. Here every reply reaches who asked.

Work is written as tasks: generators that yield requests and are sent their replies. `Pipeline.run` runs many at a
time, so what reads as "open, then write, then close" costs few round trips for five hundred files, not 1,500.
"""

from __future__ import annotations

import contextlib
import math
import struct
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

from deepspeech_wer.errors import Trouble

INIT, VERSION = 1, 2
OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = 3, 4, 5, 6, 7, 8, 9, 10
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME = 11, 12, 13, 14, 15, 16, 17, 18
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, UNSUPPORTED = 0, 1, 2, 3, 4, 8

FLUSH_BYTES = 128 * 1024  # requests gathered before they are handed to the channel
PACKET_BYTES = 32 * 1024 - 64  # of one SSH packet: what every server takes, less the header
LARGEST_REPLY = 16 * 1024 * 1024  # anything larger is no SFTP: a login script that prints, say

T = TypeVar("T")


class Channel(Protocol):
    """What is needed of paramiko's Channel."""

    def sendall(self, data: bytes) -> None: ...
    def recv(self, size: int) -> bytes: ...


class Request(NamedTuple):
    """A request without its number."""

    kind: int
    body: bytes


class Reply(NamedTuple):
    """A reply without its number."""

    kind: int
    body: bytes


class Ask(NamedTuple):
    """What a task yields: requests, and how many of its replies may be outstanding when it goes on."""

    requests: Sequence[Request]
    lag: int = 0
    forget: bool = False  # go on at once, and never see these replies


Task = Generator[Ask, list[Reply], T]


class Refused(Exception):
    """The server answered a request with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text  # as the server put it, made printable


class Lost(Exception):
    """The channel ended, stayed silent or spoke something else than SFTP. The message says which."""


@dataclass
class _Job:
    task: Task[Any]
    place: int
    replies: dict[int, Reply] = field(default_factory=dict)
    outstanding: int = 0
    lag: int = 0
    started: bool = False
    done: bool = False


class Pipeline:
    """The client side of one SFTP session. Raises Lost from every method once the channel is gone."""

    def __init__(self, channel: Channel, *, eager: bool = False) -> None:
        """`eager`: do not wait for the server's greeting before the first requests; it saves a round trip."""
        self.extensions: dict[str, str] = {}  # the server's: name -> version; with the first reply when eager
        self.greeted = False
        self.trip_s = math.inf  # the shortest time in which a first answer came
        self._asked_at: float | None = None  # when nothing else was unanswered
        self._channel = channel
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._unsent = True  # whether there is something in _out for which an answer is waited
        self._in = bytearray()
        self._number = 0
        self._waiting: dict[int, _Job] = {}
        self._lost: Lost | None = None
        self._beat: tuple[Request, float] | None = None
        self._beat_at = 0.0
        self._put(struct.pack(">IBI", 5, INIT, 3))
        while not (self.greeted or eager):
            self._flush()
            self._packets()

    def run(self, tasks: Iterable[Task[T]], *, at_once: int = 64) -> list[T]:
        """Run tasks, `at_once` at a time, and return their results in order.

        After a first failure no more are started, those under way come to their end, and the failure is raised.
        """
        try:
            return self._run(tasks, at_once)
        except (KeyboardInterrupt, SystemExit):  # perhaps half a packet was sent: no more will be understood
            self._lost = Lost("interrupted")
            raise

    def _run(self, tasks: Iterable[Task[T]], at_once: int) -> list[T]:
        feed, results, failures = enumerate(tasks), dict[int, T](), list[Exception]()
        active = 0
        while True:
            while active < at_once and not failures:
                started = next(feed, None)
                if started is None:
                    break
                active += self._step(_Job(started[1], started[0]), results, failures)
            if not active:
                break
            for job in self._receive():
                if not job.done and job.outstanding <= job.lag:
                    active -= not self._step(job, results, failures)
        if failures:
            raise failures[0]
        return [results[place] for place in sorted(results)]

    def one(self, task: Task[T]) -> T:
        """Run a single task."""
        return self.run([task])[0]

    @contextlib.contextmanager
    def beating(self, request: Request, every_s: float) -> Iterator[None]:
        """Send a request now and then, between whatever else is sent; its replies are nobody's."""
        self._beat, self._beat_at = (request, every_s), time.monotonic() + every_s
        try:
            yield
        finally:
            self._beat = None

    def _step(self, job: _Job, results: dict[int, T], failures: list[Exception]) -> bool:
        """Let a task go on as far as it can without waiting. True while it is not at its end."""
        while job.outstanding <= job.lag:
            replies = [job.replies[number] for number in sorted(job.replies)]
            job.replies.clear()
            try:
                ask = job.task.send(replies) if job.started else next(job.task)
                job.started = True
            except StopIteration as end:
                results[job.place] = end.value
                job.done = True
                return False
            except (Refused, Trouble, OSError) as error:
                failures.append(error)
                job.done = True
                return False
            job.lag = ask.lag
            for request in ask.requests:
                self._send(request, _Job(job.task, -1, done=True) if ask.forget else job)
        return True

    def _send(self, request: Request, job: _Job) -> None:
        if not self._waiting:
            self._asked_at = time.monotonic()
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._waiting[self._number] = job
        self._unsent |= not job.done
        job.outstanding += 1
        self._put(struct.pack(">IBI", len(request.body) + 5, request.kind, self._number))
        self._put(request.body)

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._lost:  # at once: whoever tidies up must not wait for the time-out again
            raise self._lost
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes, self._unsent = 0, False
        try:
            for start in range(0, len(data), PACKET_BYTES):
                self._channel.sendall(data[start : start + PACKET_BYTES])
        except (OSError, EOFError) as error:  # also time-outs; paramiko has no class of its own here
            self._lose(_silence(error), error)

    def _receive(self) -> list[_Job]:
        """Wait for replies, store them with their jobs, and return those jobs."""
        if self._beat and time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + self._beat[1]
            self._send(self._beat[0], _Job(_nothing(), -1, done=True))
            self._unsent = True
        if self._unsent:  # what is forgotten goes with the next that is not
            self._flush()
        jobs, packets = [], self._packets()
        if self._asked_at is not None:
            self.trip_s = min(self.trip_s, time.monotonic() - self._asked_at)
            self._asked_at = None
        for packet in packets:
            number = int.from_bytes(packet[1:5], "big")
            job = self._waiting.pop(number, None)
            if job is None:
                raise Lost("an answer to no question came back: that is no SFTP")
            job.outstanding -= 1
            job.replies[number] = Reply(packet[0], packet[5:])
            jobs.append(job)
        return jobs

    def _packets(self) -> list[bytes]:
        """At least one whole packet, length stripped; none only for the greeting."""
        packets: list[bytes] = []
        while not packets:
            self._in += self._read()
            start = 0
            while len(self._in) - start >= 4:
                size = int.from_bytes(self._in[start : start + 4], "big")
                if not 0 < size <= LARGEST_REPLY:
                    text = bytes(self._in[:60]).decode("ascii", "replace")
                    raise Lost(f"the server sent {text!r}, which is no SFTP: does its shell print at login?")
                if len(self._in) - start - 4 < size:
                    break
                packets.append(bytes(self._in[start + 4 : start + 4 + size]))
                start += 4 + size
            del self._in[:start]
        if not self.greeted:
            self._greet(packets.pop(0))
        return packets

    def _read(self) -> bytes:
        try:
            data = self._channel.recv(FLUSH_BYTES)
        except (OSError, EOFError) as error:
            self._lose(_silence(error), error)
        if not data:
            self._lose("the server closed the connection")
        return data

    def _lose(self, reason: str, error: Exception | None = None) -> NoReturn:
        self._lost = Lost(reason)
        raise self._lost from error

    def _greet(self, packet: bytes) -> None:
        if packet[0] != VERSION or int.from_bytes(packet[1:5], "big") < 3:
            self._lose("the server speaks no SFTP version 3")
        body = Body(packet, 5)
        while body.left():
            name = body.text()
            self.extensions[name] = body.text()
        self.greeted = True


def _nothing() -> Task[None]:
    yield Ask([])


def _silence(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the server fell silent"
    return f"the connection was lost ({error})" if str(error) else "the connection was lost"


class Body:
    """Reads a packet's fields in turn."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data = data
        self._at = start

    def left(self) -> int:
        return len(self._data) - self._at

    def number(self, size: int = 4) -> int:
        self._at += size
        if self._at > len(self._data):
            raise Lost("a reply ended too early: that is no SFTP")
        return int.from_bytes(self._data[self._at - size : self._at], "big")

    def fields(self, layout: struct.Struct) -> tuple[int, ...]:
        start = self._at
        self._at += layout.size
        if self._at > len(self._data):
            raise Lost("a reply ended too early: that is no SFTP")
        return layout.unpack_from(self._data, start)

    def blob(self) -> bytes:
        start = self._at + 4
        self._at = start + int.from_bytes(self._data[start - 4 : start], "big")
        if self._at > len(self._data):
            raise Lost("a reply ended too early: that is no SFTP")
        return self._data[start : self._at]

    def text(self) -> str:
        return self.blob().decode("utf-8", "surrogateescape")


def string(value: str | bytes) -> bytes:
    """A string field; text as UTF-8, undecodable bytes of a listing as they came."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data
