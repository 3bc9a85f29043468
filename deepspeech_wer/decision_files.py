"""What people decided about runs: one file for each decision, below the data root in requests/.

<YYYYmmdd-HHMMSS>-retry-<sha12>.json    run this commit again; removed once that is done
<YYYYmmdd-HHMMSS>-accept-<sha12>.json   the change of this commit is the new level, not a regression
<YYYYmmdd-HHMMSS>-skip-<sha12>.json     do not train this commit; removed by `retry`
<YYYYmmdd-HHMMSS>-calibrate-<sha12>.json  train this commit with many seeds; removed once that is done or withdrawn
released.json                           failures up to then no longer stop the queue
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import clock, files, versions
from deepspeech_wer.backlog import Release
from deepspeech_wer.errors import Trouble, with_cure

VERSION = 1
RETRY = re.compile(r"\d{8}-\d{6}-retry-([0-9a-f]{12})\.json")
ACCEPT = re.compile(r"\d{8}-\d{6}-accept-([0-9a-f]{12})\.json")
SKIP = re.compile(r"\d{8}-\d{6}-skip-([0-9a-f]{12})\.json")
CALIBRATE = re.compile(r"\d{8}-\d{6}-calibrate-([0-9a-f]{12})\.json")
UNREADABLE = ".unreadable"

log = logging.getLogger(__name__)


class Decision(NamedTuple):
    """What somebody decided about a commit."""

    sha: str
    who: str
    why: str
    at: str  # ISO 8601, UTC


class Calibration(NamedTuple):
    """Who wants a commit to be trained with how many seeds, to measure the noise."""

    sha: str
    who: str
    at: str  # ISO 8601, UTC
    runs: int  # seeds wanted by this request
    before: int = 0  # good calibration runs of the commit that there were when somebody asked
    failed: int = 0  # and failed ones


def ask_retry(directory: Path, wanted: Decision) -> None:
    """Note that a commit is to be run again. Raises OSError."""
    _note(directory, "retry", wanted)


def retries(directory: Path) -> list[Decision]:
    """Return the commits that are to be run again, in the order of the requests. An unreadable file is set aside."""
    return _noted(directory, RETRY)


def accept(directory: Path, accepted: Decision) -> None:
    """Note that a commit's worse result is accepted: its level is the new one. Raises OSError."""
    _note(directory, "accept", accepted)


def accepted(directory: Path) -> list[Decision]:
    """Return the accepted commits, in the order of the decisions. An unreadable file is set aside."""
    return _noted(directory, ACCEPT)


def skip(directory: Path, unwanted: Decision) -> None:
    """Note that a commit is not to be trained, and withdraw requests to run it again. Raises OSError."""
    _note(directory, "skip", unwanted)
    end_retry(directory, unwanted.sha)


def skipped(directory: Path) -> list[Decision]:
    """Return the commits that are not to be trained, in the order of the decisions. An unreadable file is set aside."""
    return _noted(directory, SKIP)


def end_skip(directory: Path, sha: str) -> None:
    """The commit may be trained after all. Raises OSError."""
    for path in _about(directory, SKIP, sha):
        path.unlink(missing_ok=True)


def calibrate(directory: Path, wanted: Calibration) -> None:
    """Note that a commit is to be trained with many seeds. Replaces an earlier request for it. Raises OSError."""
    old = _about(directory, CALIBRATE, wanted.sha)
    new = _note(directory, "calibrate", wanted)
    for path in old:
        if path != new:
            path.unlink(missing_ok=True)


def calibrations(directory: Path) -> list[Calibration]:
    """Return what is to be trained with many seeds, in the order of the requests. An unreadable file is set aside."""
    found: dict[str, Calibration] = {}
    for path in _listed(directory):
        record = _read(path) if CALIBRATE.fullmatch(path.name) else None
        if record is not None:
            try:
                runs, before, failed = (int(record.pop(name)) for name in ("runs", "before", "failed"))
                found[record["sha"]] = Calibration(**record, runs=runs, before=before, failed=failed)
            except (TypeError, KeyError, ValueError) as error:
                _set_aside(path, error)
    return list(found.values())


def end_calibration(directory: Path, sha: str) -> None:
    """The commit was trained with the seeds, or nobody wants that any more. Raises OSError."""
    for path in _about(directory, CALIBRATE, sha):
        path.unlink(missing_ok=True)


def retry_all(directory: Path, shas: Sequence[str], who: str, newest: str) -> None:
    """Commits that were written off for the machine's trouble are to be run again, and stop the queue no longer.

    `newest` is the name of the newest archived run. Raises OSError.
    """
    for sha in shas:
        ask_retry(directory, Decision(sha, who, "failed like others", clock.utc_now()))
    release(directory, who, newest)


def end_retry(directory: Path, sha: str) -> None:
    """The commit was run again."""
    for path in _about(directory, RETRY, sha):
        path.unlink()


def release(directory: Path, who: str, newest: str) -> None:
    """Failures up to the newest run no longer stop the queue. Raises OSError."""
    files.make_private(directory)
    _write(directory / "released.json", {"who": who, "at": clock.utc_now(), "after": newest})


def released(directory: Path) -> Release:
    """When the queue was last released."""
    record = _read(directory / "released.json")
    return Release(record.get("at", ""), record.get("after")) if record else Release()


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not directory.is_symlink():
            return []
        raise Trouble(f"cannot read what people decided: {directory}: {with_cure(error)}") from None


def _about(directory: Path, names: re.Pattern[str], sha: str) -> list[Path]:
    matches = ((path, names.fullmatch(path.name)) for path in _listed(directory))
    return [path for path, match in matches if match and match[1] == sha[:12]]


def _note(directory: Path, kind: str, decision: Decision | Calibration) -> Path:
    files.make_private(directory)
    path = directory / f"{clock.stamp(clock.COMPACT)}-{kind}-{decision.sha[:12]}.json"
    _write(path, decision._asdict())
    return path


def _noted(directory: Path, names: re.Pattern[str]) -> list[Decision]:
    found = []
    for path in sorted(_listed(directory), key=_asked):
        record = _read(path) if names.fullmatch(path.name) else None
        if record is not None:
            try:
                found.append(Decision(**record))
            except TypeError as error:
                _set_aside(path, error)
    return found


def _asked(path: Path) -> tuple[str, int, str]:
    """Sort by when it was asked for; names have whole seconds, and many may be asked for in one."""
    try:
        return path.name[:15], path.stat().st_mtime_ns, path.name
    except OSError:
        return path.name[:15], 0, path.name


def _write(path: Path, record: dict[str, Any]) -> None:
    text = json.dumps({"version": VERSION, **record}, ensure_ascii=False)
    files.write_atomically(path, text.encode("utf-8", "replace"), mode=0o600)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(files.read(path))
        versions.refuse_newer(path, record, VERSION)
        if record.pop("version") != VERSION:
            raise ValueError(f"expected version {VERSION}")
        return {name: str(value) for name, value in record.items()}
    except FileNotFoundError:
        return None
    except (IsADirectoryError, ValueError, KeyError, TypeError, AttributeError) as error:
        _set_aside(path, error)
        return None
    except OSError as error:
        raise Trouble(f"cannot read {path}: {with_cure(error)}") from None


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(path.name + UNREADABLE)
    path.replace(aside)
    log.warning("%s cannot be read (%s); kept as %s", path, error, aside.name)
