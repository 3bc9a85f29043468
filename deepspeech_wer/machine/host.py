"""Who this is: the user, and what tells one machine's arithmetic from another's, the processor and the kernel."""

from __future__ import annotations

import getpass
import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def processor() -> str:
    """Return the processor's model and the kernel's release, such as "Intel(R) Xeon(R) CPU @ 2.20GHz, Linux 6.1.0".

    The same training with the same seed may give another result under another of these.
    """
    model = platform.machine()
    with suppress(OSError):
        for line in _CPUINFO.read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
                break
    kernel = os.uname()
    return f"{model}, {kernel.sysname} {kernel.release}"


def user() -> str:
    """Return the user's name. In a container it may have none, only a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
