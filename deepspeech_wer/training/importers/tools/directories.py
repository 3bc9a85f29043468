"""Where corpora are on this machine."""

from __future__ import annotations

from pathlib import Path

from ...parameters import Parameters


def directory_of(parameters: Parameters) -> Path:
    """Return `ds_dataset_path`, or the importer's own directory in the cache."""
    return parameters.dataset_path or parameters.cache_dir / "datasets" / parameters.importer


def first_existing(*candidates: Path) -> Path | None:
    """Return the first of the directories that exists, None if none does."""
    return next((path for path in candidates if path.is_dir()), None)
