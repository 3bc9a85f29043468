"""Samples the load of the GPUs with nvidia-smi into a CSV file while a job runs. No file without nvidia-smi."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from deepspeech_wer import job_contract
from deepspeech_wer.machine import processes

EVERY_S = 5
COLUMNS = {  # column of the CSV file -> field of nvidia-smi; times are UTC
    "timestamp": "timestamp",
    "index": "index",
    "gpu_percent": "utilization.gpu",
    "memory_controller_percent": "utilization.memory",
    "memory_used_mib": "memory.used",
    "memory_total_mib": "memory.total",
    "temperature_celsius": "temperature.gpu",
    "power_watts": "power.draw",
}
_HEADER = (",".join(COLUMNS) + "\n").encode()

log = logging.getLogger(__name__)


def place(work: Path, sha: str, *, csv: Path | None, root: Path | None) -> Path:
    """Return the file for a run's samples: `csv` for all runs, else one below `root` as in 2016, else one in `work`."""
    if csv:
        return csv
    return root / sha[:12] / f"gpu-usage-{time.time():.0f}.csv" if root else work / job_contract.GPU_USAGE


@contextmanager
def sampling(path: Path | None, environment: Mapping[str, str]) -> Iterator[None]:
    """Sample within the block, if there is a path and nvidia-smi. A failure is logged and never fails the job."""
    program = shutil.which("nvidia-smi", path=environment.get("PATH")) if path else None
    if path is None or program is None:
        yield
        return
    sampler = _start(program, path, environment)
    try:
        yield
    finally:
        if sampler:
            _stop(sampler, path)


def _start(program: str, path: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    command = [
        program,
        f"--query-gpu={','.join(COLUMNS.values())}",
        "--format=csv,noheader,nounits",
        f"--loop={EVERY_S}",
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as stream:
            if not os.fstat(descriptor).st_size:
                stream.write(_HEADER)
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.DEVNULL,
                env={**environment, "TZ": "UTC"},  # nvidia-smi writes local time without an offset
                start_new_session=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("no GPU samples: %s: %s", path, getattr(error, "strerror", None) or error)
        return None


def _stop(sampler: subprocess.Popen[bytes], path: Path) -> None:
    if sampler.poll():  # it failed; nvidia-smi writes errors to stdout, so the file has the reason
        log.warning("GPU samples in %s end early: nvidia-smi failed with exit code %d", path, sampler.returncode)
    processes.end([sampler.pid, *processes.descendants(sampler.pid)], grace_s=2.0)
    with suppress(subprocess.TimeoutExpired):  # a process that waits for a hanging driver cannot be killed
        sampler.wait(timeout=1)
