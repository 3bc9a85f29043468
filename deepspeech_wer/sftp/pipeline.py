"""SFTP version 3 with many requests in flight on one channel (draft-ietf-secsh-filexfer-02; OpenSSH's PROTOCOL).

paramiko's client waits for every reply, and discards those to its pipelined writes, so that a full disk leaves zeros in
a file and no error. Here work is written as tasks: generators that yield requests and are sent all replies. Many run at
a time: "open, then write, then close" takes a few round trips for 500 files, not 1,500.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple, NoReturn, TypeVar

from deepspeech_wer.errors import Trouble, innermost

INIT, VERSION, OPEN, CLOSE, READ, WRITE, FSTAT, SETSTAT = 1, 2, 3, 4, 5, 6, 8, 9
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, STAT, RENAME = 11, 12, 13, 14, 15, 17, 18
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = 0, 1, 2, 3, 4

FLUSH_BYTES = 128 * 1024  # of requests are collected before they go to the channel
LARGEST_REPLY = 16 * 1024 * 1024  # a larger one is no SFTP, but the output of a login script, for example

T = TypeVar("T")


class Packet(NamedTuple):
    """A request or a reply, without its number."""

    kind: int
    body: bytes


class Ask(NamedTuple):
    """What a task yields."""

    requests: Sequence[Packet]
    lag: int = 0  # the task continues when no more replies than these are outstanding
    forget: bool = False  # the task continues at once, and never sees the replies


Task = Generator[Ask, list[Packet], T]


class Refused(Exception):
    """The server answered a request with an error. The text is the server's, made printable."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Halted(Trouble):
    """The caller asked to stop."""


class Lost(Exception):
    """The channel ended, fell silent or carries something other than SFTP. The message says which."""


@dataclass
class _Job:
    task: Task[Any]
    result: Any = None
    replies: dict[int, Packet] = field(default_factory=dict)
    outstanding: int = 0
    lag: int = 0  # the task continues when no more replies than these are outstanding; -1: it has ended
    started: bool = False


class Pipeline:
    """The client side of one SFTP session. Every method raises Lost once the channel is gone."""

    def __init__(self, channel: Any, is_stopped: Callable[[], bool] = bool) -> None:
        """`channel` is paramiko's: its sendall and recv are used. When `is_stopped`, one `run` raises Halted."""
        self.extensions: dict[str, str] = {}  # of the server: name -> version
        self._channel = channel
        self._is_stopped = is_stopped
        self._out = bytearray(struct.pack(">IBI", 5, INIT, 3))
        self._in = bytearray()
        self._number = 0
        self._waiting: dict[int, _Job | None] = {}  # request number -> who gets the reply; None: nobody
        self._lost: Lost | None = None
        self._beat: tuple[Packet, float] | None = None
        self._beat_at = 0.0
        self._flush()
        hello = Body(self._packets()[0])
        if hello.number(1) != VERSION or hello.number() < 3:
            self._lose("the server does not speak SFTP version 3")
        while hello.left():
            name = hello.text()
            self.extensions[name] = hello.text()

    def run(self, tasks: Iterable[Task[T]], *, at_once: int = 64) -> list[T]:
        """Run tasks, `at_once` at a time, and return their results in order. After a failure no further task is
        started. When the others have ended, the first failure is raised.
        """
        feed, jobs, failures, active = iter(tasks), list[_Job](), list[Exception](), 0
        try:
            while True:
                while active < at_once and not failures and (task := next(feed, None)):
                    jobs.append(_Job(task))
                    active += self._step(jobs[-1], failures)
                if not active:
                    break
                for job in self._receive():
                    if job.outstanding <= job.lag:
                        active -= not self._step(job, failures)
        except (KeyboardInterrupt, SystemExit):  # half a packet may have been sent: the server understands no more
            self._lost = Lost("interrupted")
            raise
        if failures:
            raise failures[0]
        return [job.result for job in jobs]

    def one(self, task: Task[T]) -> T:
        """Run a single task."""
        return self.run([task])[0]

    @contextlib.contextmanager
    def beating(self, request: Packet, every_s: float) -> Iterator[None]:
        """Send a request every few seconds, between all others, and ignore its replies."""
        self._beat, self._beat_at = (request, every_s), time.monotonic() + every_s
        try:
            yield
        finally:
            self._beat = None

    def _step(self, job: _Job, failures: list[Exception]) -> bool:
        """Let a task continue until it has to wait. False when it has ended."""
        while job.outstanding <= job.lag:
            replies = [job.replies.pop(number) for number in sorted(job.replies)]
            job.lag = -1
            try:
                ask = job.task.send(replies) if job.started else next(job.task)
                job.started = True
            except StopIteration as end:
                job.result = end.value
                return False
            except (Refused, Trouble, OSError) as error:
                failures.append(error)
                return False
            job.lag = ask.lag
            for request in ask.requests:
                self._send(request, None if ask.forget else job)
        return True

    def _send(self, request: Packet, job: _Job | None) -> None:
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._waiting[self._number] = job
        if job:
            job.outstanding += 1
        self._out += struct.pack(">IBI", len(request.body) + 5, request.kind, self._number) + request.body
        if len(self._out) > FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._lost:  # so that cleaning up does not wait for the time-out again
            raise self._lost
        data = bytes(self._out)
        self._out.clear()
        try:
            self._channel.sendall(data)
        except (OSError, EOFError) as error:  # including time-outs: paramiko has no class of its own for them
            self._lose(_silence(error), error)

    def _receive(self) -> list[_Job]:
        """Wait for replies, and return the jobs that got some."""
        if self._is_stopped():
            self._is_stopped = bool  # so that the lock can be released
            self._waiting = dict.fromkeys(self._waiting)
            raise Halted("stopped; the next publish goes on from there")
        if self._beat and time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + self._beat[1]
            self._send(self._beat[0], None)
        self._flush()
        jobs = []
        for packet in self._packets():
            number = int.from_bytes(packet[1:5], "big")
            if number not in self._waiting:
                self._lose("the server answered a question that nobody asked: that is no SFTP")
            job = self._waiting.pop(number)
            if job:
                job.outstanding -= 1
                job.replies[number] = Packet(packet[0], packet[5:])
                jobs.append(job)
        return jobs

    def _packets(self) -> list[bytes]:
        """At least one whole packet, without its length."""
        packets = list[bytes]()
        while not packets:
            try:
                data = self._channel.recv(FLUSH_BYTES)
            except (OSError, EOFError) as error:
                self._lose(_silence(error), error)
            if not data:
                self._lose("the server closed the connection")
            self._in += data
            while len(self._in) >= 4:
                end = 4 + int.from_bytes(self._in[:4], "big")
                if not 4 < end <= LARGEST_REPLY:
                    text = bytes(self._in[:60]).decode("ascii", "replace")
                    self._lose(f"the server sent {text!r}, which is no SFTP: does its shell print at login?")
                if len(self._in) < end:
                    break
                packets.append(bytes(self._in[4:end]))
                del self._in[:end]
        return packets

    def _lose(self, reason: str, error: Exception | None = None) -> NoReturn:
        self._lost = Lost(reason)
        raise self._lost from error


def _silence(error: Exception) -> str:
    is_silent = isinstance(error, TimeoutError)
    return "the server fell silent" if is_silent else f"the connection was lost ({innermost(error)})"


class Body(BytesIO):
    """Reads a packet's fields in turn. Raises Lost where the packet ends too early."""

    def left(self) -> int:
        return len(self.getbuffer()) - self.tell()

    def number(self, size: int = 4) -> int:
        return int.from_bytes(self._field(size), "big")

    def blob(self) -> bytes:
        return self._field(self.number())

    def text(self) -> str:
        return self.blob().decode("utf-8", "surrogateescape")

    def _field(self, size: int) -> bytes:
        data = self.read(size)
        if len(data) < size:
            raise Lost("a reply ended too early: that is no SFTP")
        return data


def string(value: str | bytes) -> bytes:
    """A string field: text as UTF-8; bytes of a listing that are no UTF-8 as they came."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data
