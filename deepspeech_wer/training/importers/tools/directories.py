"""Where a corpus lies on this machine."""

from __future__ import annotations

from pathlib import Path

from ...parameters import Parameters


def directory_of(parameters: Parameters) -> Path:
    """`ds_dataset_path`, or the importer's own directory in the cache."""
    return parameters.dataset_path or parameters.cache_dir / "datasets" / parameters.importer


def first_existing(*candidates: Path) -> Path | None:
    """The first of the directories that is there: what was unpacked by hand counts too."""
    return next((path for path in candidates if path.is_dir()), None)
