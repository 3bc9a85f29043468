"""The web root in an open SFTP session. Refusals become Trouble that names the file and the cure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish.plan import STATE
from deepspeech_wer.sftp import files, pipeline
from deepspeech_wer.sftp.files import Attributes, Content
from deepspeech_wer.sftp.pipeline import Ask, Body, Packet, Pipeline, Refused, Task, string

Tasks = Mapping[str, Task[Any]]  # by path
Stage = tuple[str, Tasks]  # what is done, for messages

_ELSE = "If something else has that name, or its directory's, move it away"
_DENY = "What takes it: the owner, the mode or the sticky bit (+t) of the directory, or -P of the server's sftp-server"
_CURES = {
    pipeline.PERMISSION_DENIED: f"give that user the right to. {_DENY}. {_ELSE}",
    pipeline.NO_SUCH_FILE: "it, or the directory it belongs in, went away meanwhile: publish again",
    pipeline.FAILURE: f"is the disk or the quota full, or read-only? {_ELSE}",
}
_EXISTS = re.compile("already exist|file exists", re.IGNORECASE)
_HIDDEN = "something has that name, though the server may not show it: move it away there"
_STATE_MODE_MASK = 0o770  # the state directory is for those who publish, not for everybody


@dataclass
class WebRoot:
    """The directory that the web server shows, and what its SFTP server can do."""

    session: Pipeline
    server: str  # for messages
    directory: str  # path on the server
    modes: tuple[int, int]  # of files, of directories
    is_openssh: bool
    handles: int = 64  # files open at a time
    unreadable: str = ""  # a file that visitors may not read, as the server sets no modes

    def __str__(self) -> str:
        return f"{self.server}: {self.directory}"

    def can(self, extension: str) -> bool:
        """Whether the server has one of OpenSSH's extensions: posix-rename, hardlink, limits."""
        return self.session.extensions.get(f"{extension}@openssh.com") == "1"

    @property
    def can_copy(self) -> bool:
        """Whether the server can copy parts of a file (copy-data, since OpenSSH 9.0; its name has no domain)."""
        return self.is_openssh and self.session.extensions.get("copy-data") == "1"

    def path(self, path: str) -> str:
        """The server's path of a file in the web root."""
        return f"{self.directory.rstrip('/')}/{path}"

    def mode(self, path: str, mode: int) -> int:
        """A mode of `modes`, as a file or directory at this path gets it."""
        return mode & _STATE_MODE_MASK if path.split("/", 1)[0] == STATE else mode

    def write(
        self, path: str, whole: Content, *, mtime: int | None = None, source: str = "", copied: Content = ()
    ) -> Task[Attributes]:
        """Write a new file. Of `copied`, the server takes the spans from `source`; if it cannot, `whole` is sent."""
        make = partial(files.write, self.path(path), mode=self.mode(path, self.modes[0]), mtime=mtime)
        if source:
            with suppress(Refused):
                return (yield from make(copied, reread=False, source=self.path(source)))
        return (yield from make(whole, reread=not self.is_openssh))

    def replace(self, source: str, target: str) -> Task[None]:
        """Rename over an existing file."""
        return files.replace(self.path(source), self.path(target), atomic=self.can("posix-rename"))

    def run(self, *stages: Stage) -> dict[str, Any]:
        """Run stages one after the other, and return the results by path. A refusal becomes Trouble.

        OpenSSH's server handles requests one by one, in order. There all stages are sent at once, which saves a round
        trip each; a later stage is carried out even if an earlier one was refused, so it must do no harm then.
        """
        named = [[self._named(path, what, task) for path, task in tasks.items()] for what, tasks in stages]
        together = [list(chain.from_iterable(named))] if self.is_openssh else named
        results = [self.session.run(tasks, at_once=self.handles) for tasks in together]
        paths = chain.from_iterable(tasks for _, tasks in stages)
        return dict(zip(paths, chain.from_iterable(results), strict=True))

    def ask_limits(self) -> Task[None]:
        """Ask how many files the server can have open, if it tells (limits@openssh.com)."""
        if not self.can("limits"):
            return
        [reply] = yield Ask([Packet(pipeline.EXTENDED, string("limits@openssh.com"))])
        if reply.kind == pipeline.EXTENDED_REPLY:
            body = Body(reply.body)
            *_, handles = (body.number(8) for _ in ("a packet", "a read", "a write", "handles"))
            self.handles = min(handles // 2 or 256, 256)  # 0: the server has no limit

    def _named(self, path: str, what: str, task: Task[Any]) -> Task[Any]:
        try:
            return (yield from task)
        except Refused as refusal:
            cure = _HIDDEN if _EXISTS.search(str(refusal)) else _CURES.get(refusal.code, "see the server's log")
            place = self.path(path) if path else self.directory
            raise Trouble(f"{self.server}: cannot {what} {place} ({refusal}): {cure}") from refusal
