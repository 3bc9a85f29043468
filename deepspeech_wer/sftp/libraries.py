"""paramiko, and pysftp made to work with it."""

from __future__ import annotations

import paramiko  # type: ignore[import-untyped]

# pysftp 0.2.9 (2016) imports DSSKey, which paramiko removed in 4.0. Nothing here uses it: keys are loaded in keys.py.
if not hasattr(paramiko, "DSSKey"):
    paramiko.DSSKey = type("DSSKey", (), {})
import pysftp

__all__ = ["paramiko", "pysftp"]
