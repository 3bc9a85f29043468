"""What visitors see of the JSON files that a job wrote: as it wrote them, less secrets and the machine's directories.

A job puts its command line, its environment and the paths of its corpora into hyper.json. The archive keeps every byte;
the published copies, and the page, are masked as the logs are, unless ds_publish_logs is `full`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepspeech_wer import job_contract
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard.logs import SECRET_NAME, is_secret_option, masked
from deepspeech_wer.files import read
from deepspeech_wer.records import Run
from deepspeech_wer.variables import MASK

NAMES = (job_contract.HYPER, job_contract.UTTERANCES, job_contract.HISTORY)
MAX_BYTES = 64 << 20  # of a file that is parsed to be masked; one of 200,000 utterances has 40 MB

# A path of this machine: from a slash that begins a word, to the next blank, quote or separator. No URL, no "and/or".
_PATH = re.compile(r"(?<![\w.~/\-…])/(?!/)(?:[^/\s'\":;,=()]+/)*([^/\s'\":;,=()]+/[^/\s'\":;,=()]+)")
_WORDS = re.compile(r"[^\W\d_]*(?:[ '][^\W\d_]+)*")  # most of what utterances.json holds
_OPTION = re.compile(r"--?([\w-]+)")

log = logging.getLogger(__name__)


def shown(run: Run, logs: PublishedLogs) -> Run:
    """Return the run with its record as visitors see it."""
    if run.hyper is None or logs.mode == "full":
        return run
    return run._replace(hyper=_masked(run.hyper, logs))


def as_seen(path: Path, logs: PublishedLogs) -> bytes | None:
    """Return a file as visitors see it; None if that is the file itself. Raises OSError.

    A file that is too large to be parsed is replaced by a note, which the log has too.
    """
    if logs.mode == "full":
        return None
    if path.stat().st_size > MAX_BYTES:
        log.warning("%s: larger than %d bytes, so it is not published", path, MAX_BYTES)
        return b'{"left_out": "too large to be published"}\n'
    text = read(path, MAX_BYTES)
    try:
        record = json.loads(text)
        found = _masked(record, logs)
    except (ValueError, RecursionError):  # nobody can use it; but a person may read it
        return trimmed(text.decode("utf-8", "replace"), logs).encode("utf-8", "replace")
    if found == record:
        return None
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def trimmed(text: str, logs: PublishedLogs) -> str:
    """Return a text without secrets, and of every absolute path the last two parts."""
    if _WORDS.fullmatch(text) and not any(secret in text for secret in logs.secrets):
        return text
    return _PATH.sub(r"…/\1", masked(text, logs))


def _masked(value: Any, logs: PublishedLogs) -> Any:
    if isinstance(value, str):
        return trimmed(value, logs)
    if isinstance(value, list):
        return list(_items(value, logs))
    if isinstance(value, dict):
        return {
            trimmed(name, logs): MASK
            if isinstance(inner, str) and inner and SECRET_NAME.search(name)
            else _masked(inner, logs)
            for name, inner in value.items()
        }
    return value


def _items(listed: list[Any], logs: PublishedLogs) -> Iterator[Any]:
    """Yield the items of a list, which may be a command line: what follows `--password` is one."""
    is_secret = False
    for item in listed:
        is_text = isinstance(item, str)
        yield MASK if is_secret and is_text and not item.startswith("-") else _masked(item, logs)
        option = _OPTION.fullmatch(item) if is_text else None
        is_secret = option is not None and is_secret_option(option[1])
