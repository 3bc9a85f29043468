"""paramiko, without what it loads for features that are not used here, and pysftp, made to work with it."""

from __future__ import annotations

import sys

# paramiko loads invoke where it is installed, with asyncio and unittest.mock: a fifth of its time, for `Match exec` in
# ssh_config files, of which none is read here. None stands for a module that is not installed.
if "invoke" not in sys.modules:
    sys.modules["invoke"] = None  # type: ignore[assignment]
import paramiko  # type: ignore[import-untyped]

if sys.modules["invoke"] is None:
    del sys.modules["invoke"]

# pysftp 0.2.9 (2016) imports a name that paramiko dropped in 4.0, and falls back to it for keys that are not RSA.
if not hasattr(paramiko, "DSSKey"):
    paramiko.DSSKey = type("DSSKey", (), {})
import pysftp

__all__ = ["paramiko", "pysftp"]
