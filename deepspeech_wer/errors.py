"""The two kinds of failure: expected ones, reported in one line, and bugs, reported with a traceback; their texts."""

import errno
import os


class Trouble(Exception):
    """An expected failure. The message is one line: what, where, expected and found, cure."""


class UsageTrouble(Trouble):
    """Unusable settings or command line. The message lists all faults, one per line."""


class Stopped(Exception):
    """A signal asked this process to end."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(name)
        self.number = number


_MOUNT = "the disk or the mount fails: look at `dmesg`"
_KEY = "unlock or renew it for cron's processes, too (`kinit`, `fscrypt unlock`)"
_LOCKS = "mount it with locks (NFS: lockd, Lustre: -o flock), or set XDG_CACHE_HOME and ds_dataroot to another disk"
_CURES = {
    errno.ENOSPC: "make room there (`df`, `df -i`)",
    errno.EDQUOT: "free some of this user's quota",
    errno.EROFS: "mount it writable, or set another path",
    errno.EACCES: "give this user access",
    errno.EPERM: "give this user access",
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN, errno.EHOSTDOWN, errno.EREMOTEIO), _MOUNT
    ),
    **dict.fromkeys((errno.EUCLEAN, errno.EBADMSG), "the file system is damaged: look at `dmesg`, then `fsck`"),
    **dict.fromkeys((errno.ENOKEY, errno.EKEYEXPIRED, errno.EKEYREVOKED), _KEY),
    **dict.fromkeys((errno.ENOLCK, errno.ENOSYS), _LOCKS),
    errno.ENOTDIR: "a file is in the place of a directory there: move it away",
    errno.EEXIST: "move it away",
    errno.EISDIR: "move it away",
    errno.ELOOP: "a link leads to itself there: mend it",
    errno.ENAMETOOLONG: "set a shorter path",
    errno.ENOMEM: "free memory, raise `ulimit -v`, or add swap",
    errno.EAGAIN: "too many processes of this user: raise `ulimit -u`",
    errno.EMFILE: "raise `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine",
    errno.ESPIPE: "a pipe is in the place of a file: move it away",
    errno.ENXIO: "a socket or a device is in the place of a file: move it away",
    errno.EFBIG: "raise `ulimit -f`",
}


def with_cure(error: OSError) -> str:
    """What the system says of a file that cannot be written, and what helps: "No space left on device: make room"."""
    link, target = _broken_link(error)
    if link:
        named = "" if link == error.filename else f"{link} is "
        return f"{named}a link to {target}, which is not there: mount its disk, or mend the link"
    said, cure = error.strerror or str(error), _CURES.get(error.errno or 0)
    return f"{said}: {cure}" if cure else said


def _broken_link(error: OSError) -> tuple[str, str]:
    """Return the link on the way to a file that leads nowhere, as where a disk is not mounted, and its target.

    They are empty if none does.
    """
    from pathlib import Path  # a tick that finds the lock held does without

    if error.errno in (errno.ENOENT, errno.EEXIST) and isinstance(error.filename, (str, os.PathLike)):
        path = Path(error.filename)
        try:
            for place in (path, *path.parents):
                if place.is_symlink() and not place.exists():
                    return str(place), str(place.readlink())
        except OSError:
            pass
    return "", ""


def is_of_the_machine(error: OSError) -> bool:
    """Whether an error that nobody expected is trouble of the machine, for which there is a cure, and no bug.

    A right that is missing where nobody expected it is one.
    """
    return error.errno in _CURES and not isinstance(error, PermissionError)


_LACKS_MEMORY = {  # what else than a MemoryError the interpreter raises, and its words
    ImportError: ("failed to map segment", "cannot allocate memory"),  # a library of C, such as _ssl
    RuntimeError: ("can't start new thread",),
    SystemError: ("without",),  # "error return without exception set": there was no memory for the error
}


def is_lack_of_memory(error: BaseException | None) -> bool:
    """Whether an error that nobody expected, or one that it came of, says that there is too little memory."""
    while error is not None:
        said = str(error).lower()
        if isinstance(error, MemoryError) or any(
            isinstance(error, kind) and any(word in said for word in words) for kind, words in _LACKS_MEMORY.items()
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def root_cause(error: BaseException) -> BaseException:
    """Return the root cause of an error: for example the socket's error that a library wrapped."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


def innermost(error: BaseException) -> str:
    """The text of the innermost error that has one, on one line: requests wraps "Connection refused" three times."""
    while (inner := error.__cause__ or error.__context__) and (str(inner) or isinstance(inner, TimeoutError)):
        error = inner
    if isinstance(error, TimeoutError):
        return "timed out"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]
