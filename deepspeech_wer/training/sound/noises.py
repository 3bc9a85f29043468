"""The recordings of noise that are laid over training speech: found and checked before the training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ...errors import Trouble
from .. import audio
from ..arrays import Floats
from ..corpus import several
from ..hashes import Hashes
from ..parameters import Parameters
from . import effects

SOURCE = "ds_augment_overlay_source"
SUFFIXES = (".flac", ".mp3", ".ogg", ".raw", ".sph", ".wav")
SHORTEST = 0.1  # seconds: a layer is stitched together from as many recordings as it takes
LEAST_POWER = 0.25  # of samples in the range of 16-bit integers: that of a single bit, which may be no sound at all
EXPECTED = "expected a directory of recordings, or a text file with the path of one per line"


@dataclass(frozen=True, slots=True)
class Noise:
    """A recording, of which any part may be used."""

    sha256: str
    path: Path
    samples: int  # at 16 kHz


@dataclass(frozen=True)
class Noises:
    """Recordings in the order of their hashes: neither their names nor their order decide what is drawn."""

    recordings: tuple[Noise, ...]
    convert: bool = False  # whether other rates and channels are converted

    @property
    def identity(self) -> str | None:
        """A hash of what they hold; None without any."""
        joined = "\n".join(one.sha256 for one in self.recordings)
        return hashlib.sha256(joined.encode()).hexdigest() if joined else None

    def layers(self, count: int, length: int, rng: np.random.Generator) -> Floats:
        """Return the [length] sum of `count` layers of noise, each of the power 1 unless it is digital silence."""
        found = np.zeros(length, np.float32)
        for _ in range(count):
            layer = np.concatenate(list(self._parts(length, rng)))
            if power := effects.power(layer):
                found += (layer - layer.mean(dtype=np.float64)).astype(np.float32) / np.float32(np.sqrt(power))
        return found

    def _parts(self, left: int, rng: np.random.Generator) -> Iterator[Floats]:
        """Yield parts of recordings, `left` samples in all. Raises Trouble for one that has become unreadable."""
        while left:
            one = self.recordings[rng.integers(len(self.recordings))]
            start = int(rng.integers(max(0, one.samples - left) + 1))
            ends = (at / audio.SAMPLE_RATE for at in (start, min(start + left, one.samples)))
            part = audio.read_audio(one.path, *ends, convert=self.convert)[:left]
            left -= len(part)
            yield part


NONE = Noises(())


def collect(parameters: Parameters) -> Noises:
    """Return the noise that the parameters ask for; none if they do not.

    Raises Trouble for a source without recordings, and with all recordings that cannot be used: unreadable, of another
    rate or several channels, too short, or silent.
    """
    source = parameters.augment_overlay_source
    if not parameters.augment_overlay or source is None:
        return NONE
    return _collected(source, parameters.cache_dir / "features", convert=parameters.resample)


@cache  # they are checked before the features are computed, and used after it
def _collected(source: Path, hashes_at: Path, *, convert: bool) -> Noises:
    paths = list(_listed(source))
    found: dict[str, Noise] = {}
    faults: list[str] = []
    with closing(Hashes(hashes_at)) as hashes:
        for path in paths:
            try:
                one = _checked(path, hashes, convert=convert)
                found[one.sha256] = one
            except Trouble as trouble:
                faults.append(str(trouble))
            except OSError as error:
                faults.append(f"{path}: cannot be read: {error.strerror}: correct {SOURCE}")
    if faults:
        raise several(faults, f"{SOURCE}: {len(faults)} of {len(paths)} recordings cannot be laid over speech")
    return Noises(tuple(found[sha256] for sha256 in sorted(found)), convert)


def _listed(source: Path) -> list[Path]:
    """Return the paths of the recordings that a directory holds, or that a file lists. Raises Trouble."""
    if source.is_dir():
        inside = (path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
        paths = sorted(path for path in inside if path.is_file() and not path.name.startswith("."))
    elif source.suffix.lower() in SUFFIXES:
        paths = [source]
    else:
        try:
            lines = source.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is no text"
            raise Trouble(f"{source}: {why}: {EXPECTED}: correct {SOURCE}") from error
        paths = [source.parent / line.strip() for line in lines if line.strip()]
    if not paths:
        raise Trouble(f"{source}: no recording found ({' '.join(SUFFIXES)}): {EXPECTED}: correct {SOURCE}")
    return paths


def _checked(path: Path, hashes: Hashes, *, convert: bool) -> Noise:
    samples = audio.read_audio(path, convert=convert)
    if len(samples) < SHORTEST * audio.SAMPLE_RATE:
        raise Trouble(
            f"{path}: {len(samples)} samples of noise: expected {SHORTEST:g} s or more: remove it from {SOURCE}"
        )
    if effects.power(samples) < LEAST_POWER:
        raise Trouble(f"{path}: holds silence: expected noise: remove it from {SOURCE}")
    return Noise(hashes.of(path), path, len(samples))
