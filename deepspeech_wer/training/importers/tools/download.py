"""Downloads files of public corpora: once, resumed after an interruption, verified by their hash.

`ds_mirror_url` is where to find them by their names instead: an http(s):// or file:// address, or a directory. Proxies
are taken from the environment (HTTPS_PROXY and so on) by requests.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from tqdm import tqdm

from ....errors import Trouble, UsageTrouble
from ....files import PARTIAL, write_atomically
from ....variables import quoted, without_password
from ...corpus import file_sha256

RECORD = ".sha256"  # suffix of the name of a file, for the note of its hash
ATTEMPTS = 5  # in a row that make no progress
FIRST_WAIT = 1.0  # s; doubles with each failure
PROGRESS = 1 << 20  # bytes: after an attempt that brought more, the count starts over
TIMEOUT = (30, 60)  # s: to connect, between two packets
ASK_TIMEOUT = (5, 5)  # s: a server that is only asked which version it has
CHUNK = 1 << 16  # bytes: at most so many are lost when a connection breaks
TRANSIENT_STATUSES = {408, 429, 500, 502, 503, 504}  # HTTP: try again


@dataclass(frozen=True)
class RemoteFile:
    """A file on the network."""

    url: str
    sha256: str | None = None  # as published; None: that of the first download is recorded, and required from then on

    @property
    def name(self) -> str:
        # Split after unquoting: an escaped slash must not lead out of a directory.
        return unquote(urlsplit(self.url).path).rsplit("/", 1)[-1]


def fetch(remote: RemoteFile, directory: Path, mirror: str = "") -> Path:
    """Return the verified file in `directory`, downloaded first if it is not there; or in the mirror, if a directory.

    An interrupted download (`NAME.partial`) is resumed if the server supports it and still has the same file. Callers
    must make sure that no other process downloads to `directory`. Raises Trouble: unreachable, not found, disk full,
    another hash.
    """
    if remote.name in ("", ".", ".."):
        raise UsageTrouble(f"{without_password(remote.url)}: expected the address of a file")
    near = directory_in(mirror)
    path = (near or directory) / remote.name
    if near and not path.is_file():
        raise Trouble(f"{path}: does not exist: expected {remote.name} in the directory that ds_mirror_url names")
    record = record_of(remote, directory)
    expected = remote.sha256 or _recorded(record)
    if path.is_file():
        found = file_sha256(path)
        tell_if_changed(remote, directory, mirror)
    else:
        other = "try another mirror" if remote.sha256 else f"another release? to take it, move {record} away"
        found = _download_checked(_address(remote, mirror), path, expected, other)
    is_own = near and remote.sha256 is None  # its user put it there, and may put the next release there
    if expected is None or (is_own and found != expected):
        what = "no hash of it is published" if expected is None else f"is another file than that of SHA-256 {expected}"
        print(f"{path}: {what}: recording {found} in {record.name}", file=sys.stderr, flush=True)
        _record(record, f"{found}  {remote.name}\n")
    elif found != expected:
        raise Trouble(f"{path}: its SHA-256 is {found}, expected {expected}: {cure_of(near)}")
    return path


def cure_of(near: Path | None) -> str:
    """What helps with a file that is not as it should be; `near` is the directory of a mirror, None on the network."""
    return "put the right file there" if near else "remove it, and it is downloaded again"


def is_unchanged(remote: RemoteFile, directory: Path, mirror: str) -> bool:
    """Whether the archive, where it is on this machine, is still the one whose hash was recorded.

    It is read only if its size or time has changed since. True if it is not here, or there is no record.
    """
    path = (directory_in(mirror) or directory) / remote.name
    expected = remote.sha256 or _recorded(record_of(remote, directory))
    if expected is None or not path.is_file():
        return True
    status = path.stat()
    seen = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": expected}
    note = directory / f"{remote.name}.seen.json"
    if _noted(note) == seen:
        return True
    if file_sha256(path) != expected:
        return False
    with suppress(OSError):  # a note only saves time
        note.write_text(json.dumps(seen))
    return True


def tell_if_changed(remote: RemoteFile, directory: Path, mirror: str) -> None:
    """Say so on stderr if the server now has another version of a downloaded file whose hash is not published.

    Nothing is said if the server cannot be asked, or does not say which version it has.
    """
    had = _noted(_source_of(directory / remote.name))
    url = _address(remote, mirror)
    if remote.sha256 or had is None or not url.startswith(("http://", "https://")):
        return
    try:
        response = requests.head(
            url, allow_redirects=True, timeout=ASK_TIMEOUT, headers={"Accept-Encoding": "identity"}
        )
    except (requests.RequestException, ValueError):
        return
    if response.status_code != 200:
        return
    has = {"url": url, "validator": _validator(response), "size": _total(response)}
    compared = ["size"] if has["url"] != had.get("url") else ["size", "validator"]  # servers name versions differently
    differ = [name for name in compared if has[name] is not None and had.get(name) not in (None, has[name])]
    if differ:
        was, now = (", ".join(f"{name} {one.get(name)}" for name in differ) for one in (had, has))
        print(
            f"{without_password(url)}: the server has another version now ({now}) than the one that is used ({was}): "
            f"to use the new one, set ds_dataset_path to a new directory",
            file=sys.stderr,
            flush=True,
        )


def record_of(remote: RemoteFile, directory: Path) -> Path:
    """Return where the hash of a file is recorded that publishes none."""
    return directory / f"{remote.name}{RECORD}"


def _source_of(path: Path) -> Path:
    """Return the note of where a file came from, and which version it is."""
    return path.with_name(f"{path.name}.source.json")


def _address(remote: RemoteFile, mirror: str) -> str:
    return f"{mirror.rstrip('/')}/{remote.name}" if mirror else remote.url


def forget(remote: RemoteFile, directory: Path) -> None:
    """Remove the hash that `fetch` recorded, for a file that turned out to be another one."""
    record_of(remote, directory).unlink(missing_ok=True)


def directory_in(mirror: str) -> Path | None:
    """Return the directory in `ds_mirror_url`; None if that is a network address or empty."""
    if not mirror or mirror.startswith(("http://", "https://")):
        return None
    if "://" in mirror and not mirror.startswith("file://"):
        raise UsageTrouble(f"ds_mirror_url={quoted(mirror)}: expected http://, https://, file:// or a directory")
    place = unquote(urlsplit(mirror).path) if mirror.startswith("file://") else mirror
    path = Path(os.path.expanduser(place))  # noqa: PTH111 - Path's raises for a user that does not exist
    if not path.is_dir():
        raise UsageTrouble(f"ds_mirror_url={quoted(mirror)}: expected an existing directory")
    return path


def _record(record: Path, text: str) -> None:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(record, text.encode())
    except OSError as error:
        raise Trouble(f"{record}: cannot be written: {error}: set ds_dataset_path to a writable place") from error


def _recorded(record: Path) -> str | None:
    """Read the hash from a file in the format of sha256sum; None if there is no file."""
    try:
        text = record.read_text()
    except FileNotFoundError:
        return None
    found = re.match(r"[0-9a-f]{64}\b", text)
    if not found:
        raise Trouble(f"{record}: holds no SHA-256: remove it, and the next download's is recorded")
    return found[0]


def _download_checked(url: str, path: Path, expected: str | None, cure: str) -> str:
    """Download to `path` and return the hash. If it is wrong after a resumed download, start over once.

    `cure` is what helps if it is wrong then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}{PARTIAL}")
    download = _Download(url, partial, path.with_name(f"{partial.name}.json"), hash_is_known=expected is not None)
    while True:
        is_resumed = _size(partial) > 0
        _run(download)
        found = file_sha256(partial)
        if found == expected or expected is None:
            break
        partial.unlink()
        download.note.unlink(missing_ok=True)
        if not is_resumed:
            raise Trouble(f"{without_password(url)}: its SHA-256 is {found}, expected {expected}: removed; {cure}")
    partial.replace(path)
    if expected is None:
        with suppress(OSError):  # without this note, later versions go unnoticed
            source = {"url": url, "validator": _noted_validator(download.note), "size": path.stat().st_size}
            _source_of(path).write_text(json.dumps(source))
    download.note.unlink(missing_ok=True)
    return found


@dataclass(frozen=True)
class _Download:
    """What is being downloaded, and to where."""

    url: str
    partial: Path  # the part that has arrived
    note: Path  # JSON: the validator of the version that the part is of
    hash_is_known: bool


def _run(download: _Download) -> None:
    """Bring `partial` to its full length, with another attempt after each transient error. Raises Trouble."""
    url, partial = download.url, download.partial
    print(f"downloading {without_password(url)} to {partial.parent}", file=sys.stderr, flush=True)
    failures = 0
    with requests.Session() as session:
        while True:
            before = _size(partial)
            try:
                return _attempt(session, download)
            except TRANSIENT_ERRORS as error:
                failures = 0 if _size(partial) > before + PROGRESS else failures + 1
                if failures == ATTEMPTS:
                    raise Trouble(
                        f"{without_password(url)}: {_reason(error)}, {ATTEMPTS} times in a row: check the network, or "
                        f"set ds_mirror_url; {_size(partial):,} bytes are kept, to be resumed"
                    ) from error
                time.sleep(FIRST_WAIT * 2 ** max(0, failures - 1))
            except requests.RequestException as error:
                raise Trouble(f"{without_password(url)}: cannot be downloaded: {_reason(error)}") from error
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise _full(partial, "more") from error
                raise Trouble(f"{partial}: cannot be written: {error}") from error


class _Transient(Exception):
    """A failed attempt; the next one may succeed."""


TRANSIENT_ERRORS = (_Transient, requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


def _attempt(session: requests.Session, download: _Download) -> None:
    """Make one request, for the missing part if possible, and write the response."""
    url, partial = download.url, download.partial
    have = _size(partial)
    headers = {"Accept-Encoding": "identity"} | _range_headers(download, have)
    with _get(session, url, headers) as response:
        if response.status_code == 416:  # the requested range is empty
            if _total(response) != have:
                partial.unlink()
                raise _Transient("the server's file has changed")
            return
        if response.status_code in TRANSIENT_STATUSES:
            raise _Transient(f"HTTP {response.status_code} {response.reason}")
        if response.status_code not in (200, 206):
            raise Trouble(
                f"{without_password(url)}: HTTP {response.status_code} {response.reason}: expected the file: "
                "set ds_mirror_url to where it is"
            )
        start = have if _begins_at(response, have) else 0
        total = _total(response)
        _require_room(partial, (total or 0) - start)
        download.note.write_text(json.dumps({"validator": _validator(response)}))
        _write_body(response, partial, start, total)
    if total is not None and _size(partial) != total:
        raise _Transient(f"the connection ended after {_size(partial):,} of {total:,} bytes")


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Send the request. Raises Trouble for an invalid address, which may come from a redirect."""
    try:
        return session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.RequestException:
        raise
    except ValueError as error:  # urllib3 and idna raise it for an invalid host name
        raise Trouble(f"{without_password(url)}: cannot be downloaded: {_reason(error)}") from error


def _range_headers(download: _Download, have: int) -> dict[str, str]:
    """Return the headers that ask for the rest: only if a hash or a validator will reveal that the file has changed."""
    validator = _noted_validator(download.note)
    if not have or not (validator or download.hash_is_known):
        return {}
    return {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {})


def _noted_validator(note: Path) -> str | None:
    """Return the validator of the partial file, as `_attempt` noted it; None if it cannot be read."""
    validator = (_noted(note) or {}).get("validator")
    return validator if isinstance(validator, str) else None


def _noted(note: Path) -> dict[str, Any] | None:
    """Return the JSON object in a note; None if it cannot be read."""
    try:
        noted = json.loads(note.read_text())
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) else None


def _validator(response: requests.Response) -> str | None:
    """Return the validator of this version of the file, for If-Range. No weak tag: RFC 9110, section 13.1.5."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _begins_at(response: requests.Response, have: int) -> bool:
    if response.status_code != 206:
        return False
    if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise _Transient(f"asked for bytes from {have}, got {response.headers.get('Content-Range')}")
    return True


def _total(response: requests.Response) -> int | None:
    """Return the length of the whole file; None if the server does not say."""
    length = re.fullmatch(r"bytes .*/(\d+)", response.headers.get("Content-Range", ""))
    if length:
        return int(length[1])
    plain = response.headers.get("Content-Length", "")
    return int(plain) if response.status_code == 200 and plain.isdigit() else None


def _write_body(response: requests.Response, partial: Path, start: int, total: int | None) -> None:
    bar = tqdm(
        desc=partial.stem,
        initial=start,
        total=total,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not sys.stderr.isatty(),
    )
    with bar, partial.open("ab" if start else "wb") as stream:
        # Undecoded: some servers declare the gzip of .tar.gz as Content-Encoding, which requests would remove.
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            stream.write(chunk)
            bar.update(len(chunk))


def _require_room(partial: Path, needed: int) -> None:
    if needed > shutil.disk_usage(partial.parent).free:
        raise _full(partial, f"{needed:,} bytes")


def _full(partial: Path, needed: str) -> Trouble:
    free = shutil.disk_usage(partial.parent).free
    return Trouble(
        f"{partial.parent}: disk full: {partial.stem} needs {needed}, {free:,} bytes are free: free space, or set "
        "ds_dataset_path; the download is then resumed"
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _reason(error: Any) -> str:
    """Return the innermost cause, without what requests and urllib3 wrap around it."""
    if isinstance(error, requests.exceptions.InvalidURL):  # whose text quotes half of a password
        return "expected an address, in which a / of a password is written as %2F"
    while isinstance(error, Exception) and error.args and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    inner = getattr(error, "reason", None)
    return without_password(str(inner if isinstance(inner, Exception) else error)) or type(error).__name__
