"""What visitors see of a run's logs (ds_publish_logs). A job may print whatever its environment and its user know."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import files, job_contract
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.records import Run
from deepspeech_wer.variables import MASK

NAMES = (job_contract.OUT_LOG, job_contract.ERR_LOG)
WHOLE = PublishedLogs("full")
LAST_LINES, LAST_BYTES = 200, 32_000  # of a trimmed log
_WINDOW_BYTES = 256 << 10  # masked before it is cut, so that no cut leaves half of a secret
_TAIL_BYTES = {"done": 2_000, "failed": 16_000}  # on the run's page
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]")
_LAST_WORDS = "; last words: "

_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|(?<=\nPrivate-Lines: ).*?(?=\nPrivate-MAC|\Z)",  # of PuTTY
    re.DOTALL,
)
# A job may print anything, 256 kB without a blank too: each pattern begins but once in a word, or has a bound.
_TO_AT = re.compile(r"(?<![^\s'\"])[^\s'\"]*@")
_HEADER = re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?(?:[A-Za-z]+ )?|bearer )[^\s'\"]+")
_COOKIE = re.compile(r"(?i)\b(cookie: )[^\n'\"]+")
# NAME=value and "name": "value"; a bare number is a count, such as "tokens per key: 12".
_ASSIGNED = re.compile(
    r"(?i)((?:(?<![\w.-])[\w.-]*(?:passw(?:or)?d|passphrase|pass|secret|token|credentials?|key|_pwd|_auth|signature"
    r"|jwt)|\b(?:auth|sig))['\"]?\]?\s*(?::=?+|=>?+)\s*)"
    r"(?!\d+(?:\.\d+)?(?:[\s,;)]|$))(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;'\"]+)"
)
_KNOWN_SHAPES = re.compile(
    r"\b(?:gh[opsur]_\w{16,}|github_pat_\w{16,}|gl[a-z]{1,5}-[\w-]{16,}|hf_\w{16,}|xox[a-z]-[\w-]{10,}"
    r"|A[KS]IA[0-9A-Z]{16}|eyJ[\w-]{8,999}\.[\w-]{8,}\.[\w-]*|sk-[\w-]{20,}|AIza[\w-]{30,}|ya29\.[\w-]{16,}"
    r"|(?:npm|dckr_pat|[rs]k_live|dop_v1)_[\w-]{16,}|pypi-[\w-]{16,}|xapp-[\w-]{10,}|SG\.[\w-]{16,99}\.[\w-]{16,}"
    r"|bot\d{6,20}:[\w-]{30,}|ATATT3[\w-]{16,}|AGE-SECRET-KEY-\w{16,}"
    r"|https://(?:hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/|[\w.-]+\.webhook\.office\.com/)[^\s'\"]+)"
)
SECRET_NAME = re.compile(  # sort_key and pad_token are parameters, and no secrets
    r"(?i)passw(or)?d|passphrase|secret|credential|private_?key|api_?key|access_?key|(access|auth|api|bearer)_?token"
    r"|^(authorization|token)$|(?-i:^[A-Z0-9_]*(TOKEN|KEY|PASS|PWD)$)"
)
# Commands, as the trace of a shell shows them (set -x), and lines of .netrc.
_OPTION = re.compile(r"((?<![\w-])--?([\w-]+)\s+)(?!-)(\"[^\"]*\"|'[^']*'|\S+)")
_LOGIN_GIVEN = re.compile(
    r"((?:\s-u|--(?:proxy-)?user)(?:\s+|=)?['\"]?[^\s:'\"]{1,99}:|\bsshpass\s+-p\s*|\blogin\s+\S+\s+password\s+"
    r"|\bwandb login\s+|\blogin [^\n;]{0,199}\s-p\s+|\bmysql\w{0,9} [^\n;]{0,199}\s-p(?=\w))"
    r"(?!\d+\s)[^\s'\"]+"
)
_OTHER_HOMES = re.compile(r"(?<![\w.~-])/(?:home|Users)/[^/\s'\":;,)]+")


class Shown(NamedTuple):
    """A log as visitors see it."""

    name: str
    data: bytes | None  # None: as it is in the archive
    end: dict[str, Any]  # its last lines, for the run's page


def shown(run: Run, found: dict[str, os.stat_result], logs: PublishedLogs) -> Iterator[Shown]:
    """Yield the logs of a run that are published. `found` are the regular files of its directory."""
    end_bytes = _TAIL_BYTES.get(run.status, 2_000)
    for name in NAMES if logs.mode != "none" else ():
        if name not in found:
            continue
        path, length = run.directory / name, found[name].st_size
        if logs.mode == "full":
            yield Shown(name, None, _end(name, _last(path, end_bytes), length))
            continue
        text = trimmed(_last(path, _WINDOW_BYTES), length, logs)
        yield Shown(name, text.encode("utf-8", "replace"), _end(name, _cut(text, end_bytes), length))


def without_quotes(run: Run, logs: PublishedLogs) -> Run:
    """Return the run with a detail that shows no more of its logs than they do: it may be the last line of one."""
    if not run.detail or logs.mode == "full":
        return run
    if logs.mode == "trimmed":
        return run._replace(detail=masked(run.detail, logs))
    is_quote = (run.failure or "").startswith("exit ") or run.failure == "diverged"
    return run._replace(detail="" if is_quote else run.detail.partition(_LAST_WORDS)[0])


def trimmed(text: str, length: int, logs: PublishedLogs) -> str:
    """Return the end of a log of `length` bytes, masked, with a first line that says what is missing."""
    lines = masked(text, logs).splitlines(keepends=True)
    end = _cut("".join(lines[-LAST_LINES:]), LAST_BYTES)
    is_whole = len(text.encode("utf-8", "replace")) >= length and len(end) == sum(map(len, lines))
    return end if is_whole else f"[... only the end of {length:,} bytes is published ...]\n{end}"


def masked(text: str, logs: PublishedLogs) -> str:
    """Return a text without secrets, and without the names of home directories."""
    for secret in logs.secrets:
        text = text.replace(secret, MASK)
    text = _KEY_BLOCK.sub(MASK, text)
    text = _TO_AT.sub(_without_login, text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _COOKIE.sub(rf"\1{MASK}", text)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    text = _KNOWN_SHAPES.sub(MASK, text)
    text = _OPTION.sub(lambda found: found[1] + MASK if is_secret_option(found[2]) else found[0], text)
    text = _LOGIN_GIVEN.sub(rf"\1{MASK}", text)
    if "/" not in text:  # most subjects and authors
        return text
    home = str(files.home())
    if home.count("/") and home != "/":
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    return _OTHER_HOMES.sub("~", text)


def _without_login(found: re.Match[str]) -> str:
    scheme, end, _ = found[0].partition("://")
    return f"{scheme}{end}{MASK}@" if end else found[0]


def is_secret_option(name: str) -> bool:
    """Whether the name of an option of a command, without its dashes, says that its value is secret."""
    return bool(SECRET_NAME.search(name.replace("-", "_")))


def _last(path: Path, size: int) -> str:
    """Return the last whole lines of a file, of at most `size` bytes; the end of a line that is longer."""
    with files.open_regular(path) as stream:
        length = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, length - size))
        text = stream.read(size).decode("utf-8", "replace")
    return text.partition("\n")[2] or text if length > size else text


def _cut(text: str, size: int) -> str:
    """Return the last whole lines of a text, of at most `size` bytes; the end of a line that is longer."""
    data = text.encode("utf-8", "replace")
    if len(data) <= size:
        return text
    end = data[-size:].decode("utf-8", "ignore")
    return end.partition("\n")[2] or end


def _end(name: str, text: str, length: int) -> dict[str, Any]:
    """Return a log's last lines as a terminal would show them."""
    # A progress bar overwrites its line: only the text after the last carriage return stays visible.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return {"name": name, "bytes": length, "text": _ESCAPES.sub("", "\n".join(lines)).rstrip()}
