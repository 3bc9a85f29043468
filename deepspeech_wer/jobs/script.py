"""Why the script of a merge cannot be started, and whose fault that is.

Only what the merge itself proves is its fault. A program of the machine may be missing because its disk is not
mounted: where the merge did not touch the script, the next tick tries again.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

from deepspeech_wer.jobs.outcome import MACHINE, NO_SCRIPT, Verdict
from deepspeech_wer.jobs.work import Order

# The option of env that makes several words of the rest of a #! line.
_SPLIT = re.compile(rb"^(-S\s*|--split-string=)([^\s\"'\\$=]+)(\s.*)?$")
_PLAIN = re.compile(r"[^-\s\0\"'\\$=][^\s\0\"'\\$=]*")  # of which env makes nothing else
_ELF = b"\x7fELF"
_IS_GONE = ("is not on this machine", "install it, or name one that is there")
_OF_INTERPRETER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)  # errors of execve(2)


class Script(NamedTuple):
    """The script of a job."""

    name: str  # as ds_wer_automation has it
    checkout: Path
    is_changed: bool = True  # by its merge, as far as that is known

    @classmethod
    def of(cls, order: Order) -> Script:
        """Return the script of an order."""
        checkout, changed = Path(order.checkout), order.changed
        target = os.path.relpath(_resolved(checkout / order.script), _resolved(checkout))
        names = (PurePath(order.script).as_posix(), target)  # a link, and what it leads to
        is_changed = order.rerun_of is None and (changed is None or any(path in names for path, *_ in changed.files))
        return cls(order.script, checkout, is_changed)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.checkout / self.name

    def fault(self, variables: Mapping[str, str]) -> Verdict | None:
        """Return why it cannot be run with this environment; None where it seems to be all right."""
        if not os.path.isfile(self.path):  # noqa: PTH113 - False also for names that are too long
            return self._missing()
        mode = self.path.stat().st_mode
        if not mode & 0o111 and self._is_inside(self.path) and not self._keeps_modes():
            cure = "set ds_clone_path to a file system that does"
            return Verdict(MACHINE, f"{self.path.parent}: its file system keeps no execute bits: {cure}")
        if not mode & 0o111:
            return self._of_itself(f"not executable (mode {mode & 0o777:04o}): chmod +x it")
        if not os.access(self.path, os.R_OK):
            return self._of_itself(f"cannot be read by this user (mode {mode & 0o777:04o}): chmod +r it")
        if os.statvfs(self.path).f_flag & os.ST_NOEXEC:
            cure = "set ds_clone_path to a file system without that option"
            return Verdict(MACHINE, f"{self.path.parent} is mounted noexec, so that no job can run there: {cure}")
        return self._fault_of_env(variables)

    def fault_in_sandbox(self) -> Verdict | None:
        """Return the error that execve(2) would give: in the sandbox, the error would name bwrap instead."""
        first = self._first_line()
        if first.startswith(_ELF):
            return None
        if not first.startswith(b"#!") or not first[2:].strip():
            return self.fault_of(OSError(errno.ENOEXEC, ""))
        return None if shutil.which(_interpreter(first)) else self.fault_of(OSError(errno.ENOENT, ""))

    def fault_of(self, error: OSError) -> Verdict:
        """Return the class of an error that execve(2) gave."""
        if error.errno == errno.ENOEXEC:
            is_program = self._first_line().startswith(_ELF)
            reason = "a program for another kind of machine" if is_program else "no #! line"
            return self._of_itself(f"cannot be executed: {reason}")
        if error.errno not in _OF_INTERPRETER:
            return Verdict(MACHINE, f"{self.name}: cannot be started: {error.strerror}")
        first = self._first_line()
        is_program = first.startswith(_ELF)
        named = "ld.so (see `readelf -l`)" if is_program else _interpreter(first)
        if first.endswith(b"\r\n"):
            cure = "save it with line ends of LF"
            return self._of_itself(f"cannot be executed: its #! line ends with CR LF (Windows): {cure}")
        there = self.checkout / named  # the kernel looks for a relative name in the working directory
        if error.errno != errno.EACCES:
            what, cure = _IS_GONE
        elif there.is_dir():
            what, cure = "is a directory", "name a program"
        else:
            what, cure = "cannot be executed by this user", "chmod +x it"
        return self._of_interpreter(_readable(named), what, cure, is_inside=not is_program and self._is_inside(there))

    def _fault_of_env(self, variables: Mapping[str, str]) -> Verdict | None:
        """Return the fault of `#!/usr/bin/env NAME` where PATH lacks NAME; the job would end with 127."""
        interpreter, _, name = self._first_line().removeprefix(b"#!").strip(b" \t\n").partition(b" ")
        named = _readable(os.fsdecode(_SPLIT.sub(rb"\2", name.strip())))
        if PurePath(os.fsdecode(interpreter)).name != "env" or not _PLAIN.fullmatch(named):
            return None
        there = self.checkout / named
        if "/" in named and not shutil.which(there):
            return self._of_interpreter(named, *_IS_GONE, is_inside=self._is_inside(there))
        if "/" not in named and not shutil.which(named, path=variables.get("PATH")):
            return self._of_interpreter(named, "is not on the job's PATH", "install it, or set PATH in the crontab")
        return None

    def _of_itself(self, said: str) -> Verdict:
        """Return a fault of the script alone: outside of the checkout it is of no merge."""
        return Verdict(NO_SCRIPT if self._is_inside(self.path) else MACHINE, f"{self.name}: {said}")

    def _of_interpreter(self, name: str, what: str, cure: str, *, is_inside: bool = False) -> Verdict:
        said = f"{self.name}: cannot be executed: its interpreter {name} {what}: {cure}"
        return Verdict(NO_SCRIPT if self.is_changed or is_inside else MACHINE, said)

    def _missing(self) -> Verdict:
        if not self.checkout.is_dir():
            said = (
                f"{self.checkout}: the checkout is no longer there: is the disk of ds_clone_path mounted on this host?"
            )
            return Verdict(MACHINE, said)
        if not self._is_inside(self.path):
            said = f"{self.path}: no such file on this machine: mount its disk, or set ds_wer_automation"
            return Verdict(MACHINE, said)
        target = _resolved(self.path)
        if self.path.is_symlink() and not self._is_inside(target):
            said = (
                f"{self.name}: a link to {target}, which is no file on this machine: mount its disk, or mend the link"
            )
            return Verdict(NO_SCRIPT if self.is_changed else MACHINE, said)
        return Verdict(NO_SCRIPT, f"{self.name}: no such file in the checkout: set ds_wer_automation")

    def _is_inside(self, path: Path) -> bool:
        is_named_inside = path.absolute().is_relative_to(self.checkout.absolute())
        return is_named_inside or _resolved(path).is_relative_to(_resolved(self.checkout))

    def _keeps_modes(self) -> bool:
        """Return whether files can have execute bits in the checkout. On FAT, or CIFS with `file_mode`, none can.

        `git clone` tries that and writes down what it found: see git-config(1), core.fileMode.
        """
        try:
            config = (self.checkout / ".git" / "config").read_text("utf-8", "replace")
        except OSError:
            return True
        return not re.search(r"^\s*filemode\s*=\s*false$", config, re.MULTILINE | re.IGNORECASE)

    def _first_line(self) -> bytes:
        with self.path.open("rb") as stream:
            return stream.readline(256)


def _resolved(path: Path) -> Path:
    """Follow the links of a path, but not those below /proc that this user may not read."""
    try:
        return Path(os.path.realpath(path))
    except OSError:
        return path.absolute()


def _interpreter(first: bytes) -> str:
    """Return the program that the first line of a script names."""
    named = first.removeprefix(b"#!").partition(b"\0")[0].split(None, 1)[:1]  # as the kernel does, a string of C
    return os.fsdecode(named[0]) if named else "nothing"


def _readable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
