"""From utterances to the items of a data set: features, labels, and all checks, before any training."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import Trouble
from . import audio
from .arrays import Floats, Ints
from .corpus import FAULTS_SHOWN, MOST_LEFT_OUT, Corpus, Segment, Utterance, identity, several
from .doubts import Recording, Teller, repeated
from .hashes import Hashes
from .importers.tools.transcripts import folded
from .parameters import Parameters
from .sound import band, causal, noises
from .text import Alphabet, frames_needed

LOOKED_UP = 500  # hashes looked up at a time; each by itself takes five times as long
RESAMPLED = "resampled@2"  # change the version with how audio.py converts
FRAME_BYTES = 4 * (audio.COEFFICIENTS + 1)


@dataclass(frozen=True, slots=True)
class Item:
    """An utterance ready for the network, as it is held in memory. Its features stay on disk."""

    utterance: Utterance
    frames: int
    seconds: float
    labels: Ints  # [letters]
    audio_sha256: str
    cache: Path  # shared: a path for each of a million utterances would take half a gigabyte

    @property
    def mel(self) -> Path:
        """A .npy file of [frames, 27] from `speech_mel`, named after the hash of the audio."""
        return Path(_mel_place(self.cache, self.audio_sha256, self.utterance.segment))


def is_spoken(item: Item) -> bool:
    """Return whether anybody speaks. Where nobody does, a network makes up words."""
    return audio.rise(np.load(item.mel)) >= audio.LEAST_RISE


def prepare(
    utterances: Sequence[Utterance],
    alphabet: Alphabet,
    cache: Path,
    *,
    tolerant: bool = False,
    resample: bool = False,
    most_seconds: float = 0,
    is_causal: bool = False,
) -> tuple[Item, ...]:
    """Check every utterance, and compute its features unless they are in the cache.

    Several trainings may fill one cache at the same time; what a killed one has computed is used. Raises Trouble, which
    names the utterances, at most ten, for unreadable audio, characters outside the alphabet, an empty transcript, and a
    transcript that needs more frames than its recording has. If `tolerant`, such utterances are reported, counted and
    left out; Trouble is raised only when they exceed 5 %. With `resample` recordings of any rate and number of channels
    are converted. With `most_seconds` a longer utterance cannot be learnt. With `is_causal` the features are those
    of causal.py.
    """
    if is_causal:
        cache /= causal.VERSION
    if resample:
        cache /= RESAMPLED  # without it, these recordings are refused
    items: list[Item] = []
    faults = 0
    refused: list[str] = []
    with closing(Hashes(cache)) as hashes, closing(Teller()) as teller:
        for number, utterance in enumerate(
            tqdm(utterances, desc="features", unit="utt", leave=False, disable=not sys.stderr.isatty())
        ):
            if number % LOOKED_UP == 0:
                hashes.look_ahead([one.audio for one in utterances[number : number + LOOKED_UP]])
            try:
                item = _prepare_one(utterance, alphabet, cache, hashes, resample=resample, is_causal=is_causal)
                if most_seconds:
                    _require_short(item, most_seconds)
                items.append(item)
                if hashes.doubts and (doubt := hashes.doubts.get(item.mel.name)):
                    teller.tell(f"utterance {utterance.id} ({utterance.audio})", doubt)
            except Unusable as fault:
                faults += 1
                if not tolerant:
                    refused.append(str(fault))
                    continue
                if faults > max(1, MOST_LEFT_OUT * len(utterances)):
                    raise Trouble(
                        f"{faults} utterances cannot be learnt, more than 1 in 20; the last: {fault}"
                    ) from fault
                if faults <= FAULTS_SHOWN:
                    print(f"left out: {fault}", file=sys.stderr, flush=True)
    if refused:
        raise several(refused, f"{faults} of {len(utterances)} utterances cannot be learnt")
    if faults and not items:
        raise Trouble("no utterance of the set can be learnt: expected at least one")
    if faults:
        print(f"left out: {faults} of {len(utterances)} utterances", file=sys.stderr, flush=True)
    return tuple(items)


def prepare_corpus(corpus: Corpus, parameters: Parameters) -> dict[str, tuple[Item, ...]]:
    """Prepare every set of a corpus. Raises Trouble for the faults of all sets, and of noise, together.

    Audio that two sets have in common, and recordings with two transcripts, are told on stderr.
    """
    sets: dict[str, tuple[Item, ...]] = {}
    troubles: list[str] = []
    try:
        noises.collect(parameters)
    except Trouble as trouble:
        troubles.append(str(trouble))
    for name, utterances in corpus.sets().items():
        cache = parameters.cache_dir / "features"
        try:
            sets[name] = prepare(
                utterances,
                parameters.alphabet,
                cache,
                tolerant=corpus.tolerant,
                resample=parameters.resample,
                most_seconds=parameters.max_seconds if name == "train" else 0,  # the others need less memory
                is_causal=parameters.lookahead > 0,
            )
        except Trouble as trouble:
            troubles.append(str(trouble))
    if troubles:
        raise Trouble("\n".join(troubles))
    heard = {name: (Recording(one.audio_sha256, one.utterance) for one in items) for name, items in sets.items()}
    for doubt in repeated(heard):
        print(f"in doubt: {doubt}", file=sys.stderr, flush=True)
    return sets


class Unusable(Trouble):
    """An utterance that the network cannot learn."""


def _prepare_one(
    utterance: Utterance, alphabet: Alphabet, cache: Path, hashes: Hashes, *, resample: bool, is_causal: bool
) -> Item:
    where = f"utterance {utterance.id} ({utterance.audio})"
    outside = alphabet.outside(utterance.transcript)
    if outside:
        raise Unusable(
            f"{where}: {' '.join(map(repr, outside))} in its transcript {utterance.transcript!r}: "
            f"expected only {alphabet.told}: {_cure(utterance.transcript, alphabet)}"
        )
    labels = alphabet.encode(utterance.transcript)
    digest, frames = _features_on_disk(utterance, where, cache, hashes, resample=resample, is_causal=is_causal)
    needed = frames_needed(labels)
    if not labels or needed > frames:
        raise Unusable(
            f"{where}: its transcript {utterance.transcript!r} needs {needed} frames of 20 ms, "
            f"the audio has {frames}: expected a text that fits the recording: leave the utterance out"
        )
    seconds = frames * audio.STEP / audio.SAMPLE_RATE
    return Item(utterance, frames, seconds, np.array(labels, np.int32), digest, cache)


def _cure(transcript: str, alphabet: Alphabet) -> str:
    fold = folded(transcript, alphabet)
    is_cured = fold and not alphabet.outside(fold)
    return f"{'set ds_text=fold, ' if is_cured else ''}spell it out, leave the utterance out, or set ds_alphabet"


def _require_short(item: Item, most: float) -> None:
    if item.seconds > most:
        said = item.utterance
        raise Unusable(
            f"utterance {said.id} ({said.audio}): {item.seconds:.1f} s of speech: expected at most {most:g} s: "
            "cut it, leave it out, or raise ds_max_seconds"
        )


def _mel_place(cache: Path, audio_sha256: str, segment: Segment | None) -> str:
    part = "-{:.3f}-{:.3f}".format(*segment) if segment else ""
    # In 256 directories: filling a single one takes three times as long. No Path: that takes a second of 100,000.
    return f"{cache}/{audio_sha256[:2]}/{audio_sha256}{part}-{audio.VERSION}.npy"


def _features_on_disk(
    utterance: Utterance, where: str, cache: Path, hashes: Hashes, *, resample: bool, is_causal: bool
) -> tuple[str, int]:
    """Return (hash of the audio, frames), having computed the features unless their file is intact."""
    try:
        digest = hashes.of(utterance.audio)
    except OSError as error:
        raise Unusable(f"{where}: {error}") from error
    place = _mel_place(cache, digest, utterance.segment)
    frames = _frames(place)
    if frames is not None:
        return digest, frames
    try:
        doubts: list[str] = []
        samples = audio.read_audio(utterance.audio, *(utterance.segment or ()), convert=resample, tell=doubts.append)
        features = causal.speech_mel(samples) if is_causal else audio.speech_mel(samples)
        if not (features[:, -1] >= audio.SILENT).any():
            raise Trouble(f"{utterance.audio}: holds digital silence: expected speech")
    except (Trouble, OSError) as error:
        raise Unusable(f"{where}: {error}") from error
    if audio.rise(features) < audio.LEAST_RISE:
        doubts.append("nothing rises by 4 dB above its background: expected speech")
    elif band.is_narrow(samples):
        doubts.append(band.NARROW)
    mel = Path(place)
    hashes.keep_doubt(mel.name, doubts)
    _store(mel, features)
    return digest, len(features)


def _store(path: Path, mel: Floats) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as stream:
            np.save(stream, mel)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise Trouble(f"{path}: cannot be written: {error}: free space, or set ds_cache_dir") from error


def _frames(place: str) -> int | None:
    """Return the number of frames in a cached file; None if it does not exist or is not intact. Raises Trouble.

    The number follows from the size of the file, and its header must be the one for that number.
    """
    try:
        with open(place, "rb", buffering=0) as stream:  # noqa: PTH123  # Path.open takes longer, of 100,000
            frames, rest = divmod(os.fstat(stream.fileno()).st_size - len(_header(1)), FRAME_BYTES)
            is_whole = frames > 0 and not rest and stream.read(len(_header(1))) == _header(frames)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Trouble(f"{place}: cannot be read: {error.strerror}: set ds_cache_dir to another directory") from error
    return frames if is_whole else None


@cache
def _header(frames: int) -> bytes:
    """The header that numpy writes for [frames, 27] float32; it pads all headers to one length."""
    stream = io.BytesIO()
    shape = (frames, audio.COEFFICIENTS + 1)
    header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def set_sha256(items: Sequence[Item]) -> str:
    """Return a hash of ids, transcripts and audio bytes: the identity of a data set, wherever its files are."""
    return identity((item.utterance, item.audio_sha256) for item in items)
