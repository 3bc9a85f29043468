"""Files of public corpora: downloaded once, gone on with after an interruption, checked by their hash.

`ds_mirror_url` names another place for them, by their file names: an http(s):// or file:// address, or a directory.
Proxies are those of the environment (HTTPS_PROXY and so on), as requests reads them.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from tqdm import tqdm

from ....errors import Trouble, UsageTrouble
from ....files import PARTIAL, write_atomically
from ...corpus import file_sha256

ATTEMPTS = 5  # in a row that bring nothing
FIRST_WAIT = 1.0  # s; doubles with each of them
PROGRESS = 1 << 20  # bytes: an attempt that brought more than this begins the count anew
TIMEOUT = (30, 60)  # s: to connect, between two packets
CHUNK = 1 << 16  # bytes: what a broken connection loses at most of what came
PASSING = {408, 429, 500, 502, 503, 504}  # HTTP: try again


@dataclass(frozen=True)
class RemoteFile:
    """A file on the network."""

    url: str
    sha256: str | None = None  # as published; None: it is not, and the first download's is kept and holds from then on

    @property
    def name(self) -> str:
        return unquote(urlsplit(self.url).path).rsplit("/", 1)[-1]  # an escaped slash would lead out of a directory


def fetch(remote: RemoteFile, directory: Path, mirror: str = "") -> Path:
    """The file, checked, in `directory` or in the mirror where that is a directory; downloaded where it is not there.

    What an interruption leaves (`NAME.partial`) is gone on with, where the server can and its file is the same still.
    Callers see to it that nobody else downloads there. Raises Trouble: not reachable, not found, disk full, another
    hash.
    """
    if remote.name in ("", ".", ".."):
        raise UsageTrouble(f"{shown(remote.url)}: expected the address of a file")
    near = _directory_of(mirror)
    path = (near or directory) / remote.name
    if near and not path.is_file():
        raise Trouble(f"{path}: is not there: expected what ds_mirror_url names to hold {remote.name}")
    record = directory / f"{remote.name}.sha256"
    expected = remote.sha256 or _recorded(record)
    if path.is_file():
        found = file_sha256(path)
    else:
        url = f"{mirror.rstrip('/')}/{remote.name}" if mirror else remote.url
        found = _download_checked(url, path, expected)
    if expected is None:
        print(f"{path}: no hash of it is published: keeping {found} in {record.name}", file=sys.stderr, flush=True)
        _keep(record, f"{found}  {remote.name}\n")
    elif found != expected:
        raise Trouble(f"{path}: its SHA-256 is {found}, expected {expected}: remove it to have it fetched again")
    return path


def forget(remote: RemoteFile, directory: Path) -> None:
    """Let go of the hash that `fetch` kept: what it is of turned out to be no such file."""
    (directory / f"{remote.name}.sha256").unlink(missing_ok=True)


def _directory_of(mirror: str) -> Path | None:
    """The directory that `ds_mirror_url` names; None: it is an address on the network, or unset."""
    if not mirror or mirror.startswith(("http://", "https://")):
        return None
    if "://" in mirror and not mirror.startswith("file://"):
        raise UsageTrouble(f"ds_mirror_url={mirror!r}: expected http://, https://, file:// or a directory")
    place = unquote(urlsplit(mirror).path) if mirror.startswith("file://") else mirror
    path = Path(os.path.expanduser(place))  # noqa: PTH111 - Path's raises for a user that is not there
    if not path.is_dir():
        raise UsageTrouble(f"ds_mirror_url={mirror!r}: expected a directory that is there")
    return path


def _keep(record: Path, text: str) -> None:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(record, text.encode())
    except OSError as error:
        raise Trouble(f"{record}: cannot be written: {error}: set ds_dataset_path to where it can") from error


def _recorded(record: Path) -> str | None:
    """The hash in a file as sha256sum writes it; None where it is not there."""
    try:
        text = record.read_text()
    except FileNotFoundError:
        return None
    found = re.match(r"[0-9a-f]{64}\b", text)
    if not found:
        raise Trouble(f"{record}: holds no SHA-256: remove it to have the next download's kept")
    return found[0]


def _download_checked(url: str, path: Path, expected: str | None) -> str:
    """Download to `path`; return the hash. A wrong one after an interruption leads to a second try, from the start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}{PARTIAL}")
    note = path.with_name(f"{path.name}{PARTIAL}.json")
    while True:
        resumed = _download(url, partial, note, expected is not None)
        found = file_sha256(partial)
        if found == expected or expected is None:
            break
        partial.unlink()
        note.unlink(missing_ok=True)
        if not resumed:
            raise Trouble(f"{shown(url)}: its SHA-256 is {found}, expected {expected}: removed; try another mirror")
    partial.replace(path)
    note.unlink(missing_ok=True)
    return found


def _download(url: str, partial: Path, note: Path, hash_is_known: bool) -> bool:
    """Bring `partial` to its full length; return whether any of it was there before. Tries again what may pass."""
    began_with = _size(partial)
    print(f"downloading {shown(url)} to {partial.parent}", file=sys.stderr, flush=True)
    vain = 0
    with requests.Session() as session:
        while True:
            before = _size(partial)
            try:
                _attempt(session, url, partial, note, hash_is_known)
                return began_with > 0
            except PASSING_ERRORS as one:
                vain = 0 if _size(partial) > before + PROGRESS else vain + 1
                if vain == ATTEMPTS:
                    raise Trouble(
                        f"{shown(url)}: {_reason(one)}, {ATTEMPTS} times in a row: see to the network, or set "
                        f"ds_mirror_url; {_size(partial):,} bytes are kept and gone on from"
                    ) from one
                time.sleep(FIRST_WAIT * 2 ** max(0, vain - 1))
            except requests.RequestException as error:
                raise Trouble(f"{shown(url)}: cannot be downloaded: {_reason(error)}") from error
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise _full(partial, "more") from error
                raise Trouble(f"{partial}: cannot be written: {error}") from error


class _Passing(Exception):
    """A try that failed as the next one may not."""


PASSING_ERRORS = (_Passing, requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


def _attempt(session: requests.Session, url: str, partial: Path, note: Path, hash_is_known: bool) -> None:
    """Ask once, for what is missing where that is possible, and write what comes."""
    have = _size(partial)
    headers = {"Accept-Encoding": "identity"} | _range(note, have, hash_is_known)
    with _get(session, url, headers) as response:
        if response.status_code == 416:  # nothing lies beyond what we have
            if _total(response) != have:
                partial.unlink()
                raise _Passing("the server has another file now")
            return
        if response.status_code in PASSING:
            raise _Passing(f"HTTP {response.status_code} {response.reason}")
        if response.status_code not in (200, 206):
            raise Trouble(
                f"{shown(url)}: HTTP {response.status_code} {response.reason}: expected the file: "
                "set ds_mirror_url to where it is"
            )
        start = have if _begins_at(response, have) else 0
        total = _total(response)
        _require_room(partial, (total or 0) - start)
        note.write_text(json.dumps({"validator": _validator(response)}))
        _write_body(response, partial, start, total)
    if total is not None and _size(partial) != total:
        raise _Passing(f"the connection ended after {_size(partial):,} of {total:,} bytes")


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Ask for the file. Raises Trouble for an address that is none, which may come from a redirect."""
    try:
        return session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.RequestException:
        raise
    except ValueError as error:  # urllib3 and idna raise it for a host name that cannot be one
        raise Trouble(f"{shown(url)}: cannot be downloaded: {_reason(error)}") from error


def _range(note: Path, have: int, hash_is_known: bool) -> dict[str, str]:
    """The headers that ask for the rest alone: only where a hash, or the server, will tell another file from this."""
    validator = _noted_validator(note)
    if not have or not (validator or hash_is_known):
        return {}
    return {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {})


def _noted_validator(note: Path) -> str | None:
    """What `_attempt` noted of the file that is there in part; None where that cannot be read."""
    try:
        noted = json.loads(note.read_text())
    except (OSError, ValueError):
        return None
    validator = noted.get("validator") if isinstance(noted, dict) else None
    return validator if isinstance(validator, str) else None


def _validator(response: requests.Response) -> str | None:
    """What tells this version of the file from another, for If-Range. No weak tag: RFC 9110, 13.1.5."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _begins_at(response: requests.Response, have: int) -> bool:
    if response.status_code != 206:
        return False
    if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise _Passing(f"bytes from {have} were asked for, {response.headers.get('Content-Range')} came")
    return True


def _total(response: requests.Response) -> int | None:
    """The length of the whole file, where the server says it."""
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
        # Undecoded: some servers call the gzip in .tar.gz a Content-Encoding, which requests would take off.
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
        "ds_dataset_path; what is there is gone on from"
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def shown(url: str) -> str:
    """An address without the user and the password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", url)


def _reason(error: Any) -> str:
    """The innermost cause: what requests and urllib3 wrap around it fills lines."""
    while isinstance(error, Exception) and error.args and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    inner = getattr(error, "reason", None)
    return shown(str(inner if isinstance(inner, Exception) else error)) or type(error).__name__
