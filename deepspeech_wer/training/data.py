"""The former name of `dataset`, for scripts that import it."""

from __future__ import annotations

from .dataset import Item, Unusable, prepare, set_sha256

__all__ = ["Item", "Unusable", "prepare", "set_sha256"]
