"""One open SFTP session and what its other end can do; refusals become Trouble that names the file and the cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NoReturn

from deepspeech_wer.errors import Trouble
from deepspeech_wer.settings import Website
from deepspeech_wer.sftp import files, pipeline
from deepspeech_wer.sftp.connection import where
from deepspeech_wer.sftp.pipeline import Ask, Pipeline, Refused, Request, Task, string

Stage = tuple[str, Mapping[str, Task[Any]]]  # what is done, for messages, and one task per path

HANDLES = 64  # files open at a time where the server does not say what it allows
MOST_HANDLES = 256
LEAST_IN_FLIGHT = 512 * 1024
LINE_BYTES_A_SECOND = 125_000_000  # a gigabit


@dataclass
class Limits:
    """What one request and one session may take, as far as the server says (limits@openssh.com)."""

    handles: int = HANDLES
    write_bytes: int = files.WRITE_BYTES


@dataclass(frozen=True)
class Server:
    """An open session below one web root."""

    session: Pipeline
    website: Website
    is_openssh: bool
    limits: Limits = field(default_factory=Limits)

    @property
    def atomic(self) -> bool:
        """Whether a file can be replaced in one step."""
        return self.session.extensions.get("posix-rename@openssh.com") == "1"

    @property
    def links(self) -> bool:
        """Whether a file can have two names."""
        return self.session.extensions.get("hardlink@openssh.com") == "1"

    @property
    def rereads(self) -> bool:
        """Whether what was written must be looked at: OpenSSH's server owns up to a write that was cut short."""
        return not self.is_openssh

    @property
    def bytes_in_flight(self) -> int:
        """Of a file, how much to send unanswered: what a fast line holds, and no more.

        sshd's buffers grow by copying all that is in them: the more they hold, the longer it takes over each packet.
        """
        return int(max(LEAST_IN_FLIGHT, min(files.BYTES_IN_FLIGHT, self.session.trip_s * LINE_BYTES_A_SECOND)))

    @property
    def name(self) -> str:
        """The server, for messages."""
        return where(self.website)

    def path(self, path: str = "") -> str:
        """The server's path of a file in the web root."""
        root = self.website.server_root
        return f"{root.rstrip('/')}/{path}" if path else root

    def run(self, what: str, tasks: Mapping[str, Task[files.T]]) -> dict[str, files.T]:
        """Run one task per path; the first refusal becomes Trouble that names its path."""
        return self.run_in_order([(what, tasks)])

    def run_in_order(self, stages: Sequence[Stage]) -> dict[str, Any]:
        """Run stages one after the other, where a refusal harms no later stage. Returns the results, by path.

        OpenSSH's server does one request after the other: there they all travel at once, and save a round trip each.
        It does so whatever became of those before.
        """
        named = [[self._named(path, what, task) for path, task in tasks.items()] for what, tasks in stages]
        together = [list(chain.from_iterable(named))] if self.is_openssh else named
        results = [self.session.run(tasks, at_once=self.limits.handles) for tasks in together]
        paths = chain.from_iterable(tasks for _, tasks in stages)
        return dict(zip(paths, chain.from_iterable(results), strict=True))

    def ask_limits(self) -> Task[None]:
        """Learn what the server allows; draft-ietf-secsh-filexfer-02 promises only 32 KB a request."""
        if self.session.greeted and "limits@openssh.com" not in self.session.extensions:
            return
        [reply] = yield Ask([Request(pipeline.EXTENDED, string("limits@openssh.com"))])
        if reply.kind == pipeline.EXTENDED_REPLY:
            _, _, write_bytes, handles = (int.from_bytes(reply.body[at : at + 8], "big") for at in (0, 8, 16, 24))
            self.limits.write_bytes = min(write_bytes or files.WRITE_BYTES, pipeline.FLUSH_BYTES)
            self.limits.handles = min(handles // 2 or MOST_HANDLES, MOST_HANDLES)

    def _named(self, path: str, what: str, task: Task[files.T]) -> Task[files.T]:
        try:
            return (yield from task)
        except Refused as refusal:
            self._explain(path, what, refusal)
        except OSError as error:
            raise Trouble(f"{error.filename}: cannot be read: {error.strerror}: build the site again") from error

    def _explain(self, path: str, what: str, refusal: Refused) -> NoReturn:
        cure = {
            pipeline.PERMISSION_DENIED: "give that user the right to",
            pipeline.NO_SUCH_FILE: "it, or the directory it belongs in, went away meanwhile: publish again",
            pipeline.FAILURE: "is the disk or the quota full, or something else of that name there?",
        }.get(refusal.code, "see the server's log")
        raise Trouble(f"{self.name}: cannot {what} {self.path(path)} ({refusal.text}): {cure}") from refusal


def some(names: Sequence[str]) -> str:
    """A few names for a message, whatever characters they hold."""
    shown = ", ".join(name if name.isprintable() else repr(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
