"""From audio files to the network's input: 26 mel-frequency cepstral coefficients every 20 ms.

The definition is that of python_speech_features' `mfcc(signal, 16000, numcep=26)`, of which the 2016 notebook kept
every second frame. Computing only those frames, in one matrix, is ten times as fast; a test holds the results to within
1e-4 of the original. Frames in which a rumble outshines the rest are those of the sound without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import fft

from ..errors import Trouble
from . import containers, ogg, wav
from .arrays import Flags, Floats, Reals

SAMPLE_RATE = 16_000  # Hz
WINDOW = 400  # samples: 25 ms
STEP = 320  # samples: 20 ms, every second step of the original
FFT = 512
COEFFICIENTS = 26
PREEMPHASIS = 0.97
LIFTER = 22
FLOOR = float(np.finfo(np.float64).eps)  # for the argument of a logarithm, as in python_speech_features
SILENT = -20.0  # log energy; only frames of zeros are below it: a single sample of 1 makes -6
BLOCK = 10  # seconds read at a time, however long the recording
HEADERLESS = {"samplerate": SAMPLE_RATE, "channels": 1, "format": "RAW", "subtype": "PCM_16"}
ROUGHER = 4.0  # the wrong order of bytes makes sound rougher than this, in energy of the differences; noise is as rough
FULL_SCALE = 1.001  # of samples that are fractions: what is beyond, rounding apart, is clipped
MOST_PEAK = 16.0  # of such samples, 24 dB above full scale: beyond it they have another scale, that of integers perhaps
NO_FORMAT = 1  # libsndfile's error: it knows no such format, as m4a, webm and AMR, of phones and browsers
UNKNOWN = 1 << 62  # libsndfile's number of samples, and more, where the header tells none
MOST_BEYOND = 0.5  # seconds that a segment may end after its recording; Kaldi's extract-segments allows as much
LEAST_RATE = 1000  # Hz: a lower one is a damaged header, whose sound would last for hours
MOST_RATE = 1_000_000  # Hz: a higher one is, too, and ten seconds of it are huge
LEAST_LEFT = 0.01  # of the channels' power in their mean, -20 dB; n independent ones leave 1 / n
LEAST_RISE = 1.0  # ln energy, 4 dB: speech rises more above its background; noise rises by 0.25, a hum not at all
LONGEST_QUIET = 1.0  # seconds between speech that are kept whole: longer ones spoil the normalisation
LONGEST_END = 0.5  # seconds before the first and after the last speech: people pause longer, but not there
KEPT_QUIET = 0.3  # seconds of a longer one that are kept on each side of speech
ROUNDING = 3.5  # ln energy of rounding to 16 bits: below it single steps come and go, as no noise does
STEPS = 3.0  # log energy; noise that is rounded is above it, and single steps are below
LEAST_OFFSET = 64.0  # of 32768: the mean of a whole recording is noise below this
CALM = 119  # samples, 7 ms: what is slower than that is taken out, twice; a jump is then in two frames at most: a click
REACH = CALM - 1  # samples on each side of a frame that tell what is slow in it
SLOW = 3  # lowest of the 257 frequencies, to 80 Hz, in which a rumble shows
LEAST_RUMBLE = 0.2  # their share of a frame's energy that is none yet: it raises the frame by 0.3 ln energy at most
VERSION = "mel27@5"  # part of every cache key: change it whenever the arithmetic changes
WITH_OFFSET = "mel27@2"  # an earlier version, which kept a constant offset; exports of it are still used
# mel27@3 differs in frames with a rumble, and mel27@4 in quiet ends of half a second or more. They made up, or spoiled,
# words of networks that learnt from few of either: these hear the features of today.
KNOWN = (VERSION, "mel27@4", "mel27@3", WITH_OFFSET)


def read_audio(
    path: Path,
    start: float = 0,
    end: float | None = None,
    *,
    convert: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Floats:
    """Return [samples] of a mono 16 kHz recording, from `start` to `end` in seconds, in the range of 16-bit integers.

    Reads wav, flac, mp3, NIST SPHERE without compression, and .raw: 16-bit samples without a header, as in AN4, whose
    order of bytes shows in them. Mp3 of any rate is resampled to 16 kHz: it decodes to an approximation anyway. For the
    other formats, another rate or channel count is refused: a resampled or mixed-down recording would silently be
    another test set. With `convert` it is resampled and its channels are averaged, as `read_blocks` does. `tell` is
    called if samples were clipped, or channels cancel each other.

    Raises Trouble for those, for a file that is unreadable or cut (of mp3 only where its first frame tells the size),
    if there are no samples, and if it ends well before `end`.
    """
    try:
        with _opened(path) as stream:
            rate, channels = stream.samplerate, stream.channels
            if not LEAST_RATE <= rate <= MOST_RATE:
                raise _damaged_rate(path, rate)
            is_mp3 = stream.subtype.startswith("MPEG")
            if start:  # in some formats there is no seeking
                stream.seek(min(round(start * rate), stream.frames))
            samples = _read(stream, None if end is None else max(0, round((end - start) * rate)))
            _tell_clipped(stream, tell)
    except (OSError, soundfile.SoundFileError) as error:
        raise _unreadable(path, error) from error
    if not convert and (channels != 1 or (rate != SAMPLE_RATE and not is_mp3)):
        raise Trouble(
            f"{path}: {rate} Hz, {channels} channels: expected 16000 Hz, mono; convert it with: "
            f"sox {path.name} -r 16000 -c 1 -b 16 NEW{path.suffix}; or set ds_resample=1"
        )
    if not len(samples):
        part = "" if end is None else f" between {start:g} and {end:g} s"
        raise Trouble(f"{path}: holds no sample{part}: expected speech")
    lacking = 0 if end is None else end - start - len(samples) / rate
    if lacking > MOST_BEYOND:
        raise Trouble(f"{path}: ends {lacking:.1f} s before its segment from {start:g} to {end:g} s does: is it cut?")
    size = -(-len(samples) * SAMPLE_RATE // rate)  # of an odd rate more than whole seconds come back
    return resample(_mono(samples, tell), rate)[:size].astype(np.float32)


def read_blocks(path: Path, tell: Callable[[str], None] | None = None) -> Iterator[Floats]:
    """Yield [samples] at 16 kHz of a recording of any rate and any number of channels, ten seconds at a time.

    Channels are averaged, unless they cancel each other: then the loudest is taken. This is for transcribing, where any
    recording has to do; `read_audio` is for corpora. `tell` is called at the end for that, and if samples were clipped.
    Raises Trouble if the file is unreadable or has no samples.
    """
    if path.suffix.lower() == ".raw":
        raise Trouble(f"{path}: samples without a header, so their rate is unknown: expected wav, flac, mp3, ...")
    try:
        with _opened(path, may_be_cut=True) as stream:
            rate, size = stream.samplerate, BLOCK * stream.samplerate
            if not LEAST_RATE <= rate <= MOST_RATE:
                raise _damaged_rate(path, rate)
            before = np.zeros(0, np.int16)
            doubts: list[str] = []
            block = _mono(_read(stream, size), doubts.append)
            if not len(block):
                raise Trouble(f"{path}: holds no sample: expected speech")
            while len(block):
                after = _mono(_read(stream, size), doubts.append)
                # Resampled with a second of context on each side, so that the ends of the block have no artefacts.
                start = len(before) * SAMPLE_RATE // rate
                changed = resample(np.concatenate([before, block, after[:rate]]), rate)
                yield changed[start : start + -(-len(block) * SAMPLE_RATE // rate)].astype(np.float32)
                before, block = block[-rate:], after
            if doubts and tell:
                tell(doubts[0])
            _tell_clipped(stream, tell)
    except (OSError, soundfile.SoundFileError) as error:
        raise _unreadable(path, error) from error


class _Recording(soundfile.SoundFile):  # type: ignore[misc]
    """A recording, whose length the header need not tell: a FLAC file that was written to a pipe."""

    peak = 0.0  # of the samples read so far, if they are fractions

    def seekable(self) -> bool:
        """Return whether each reading may be followed by a seek to its end, which libsndfile refuses there."""
        return self.frames < UNKNOWN and bool(super().seekable())


@contextmanager
def _opened(path: Path, *, may_be_cut: bool = False) -> Iterator[soundfile.SoundFile]:
    """Open a recording. Raises OSError, SoundFileError, and Trouble for a cut file, as far as its header tells.

    libsndfile reads what there is, without an error. That will do where any recording has to do: `may_be_cut`.
    """
    size = path.stat().st_size
    is_raw = path.suffix.lower() == ".raw"
    if is_raw and size % 2:
        raise Trouble(f"{path}: {size} bytes: expected whole samples of two: a cut file?")
    if not size:
        raise Trouble(f"{path}: is empty: expected a recording")
    with path.open("rb") as plain:
        head = plain.read(4096)
        if is_raw and containers.is_file(head):
            raise Trouble(f"{path}: is a recording with a header: expected bare samples: name it .sph instead of .raw")
        plain.seek(0)
        try:
            data = containers.find_data(plain)
            if head.startswith(ogg.MAGIC):
                plain.seek(0)
                ogg.check(plain, may_be_cut=may_be_cut)
        except Trouble as trouble:
            raise Trouble(f"{path}: {trouble}") from None
        except ValueError as error:
            why = "its header tells a size beyond that of any file"
            raise Trouble(f"{path}: cannot be read as audio: {why}: fetch or copy it again") from error
        if data and not may_be_cut:
            _check_whole(path, data)
        source = wav.Finished(plain, data) if data and data.is_odd else os.fsencode(path)
        with _Recording(source, **(HEADERLESS | {"endian": _order(path)} if is_raw else {})) as stream:
            yield stream


def _check_whole(path: Path, data: wav.Data) -> None:
    if data.there < data.promised and not data.is_unfinished:
        raise Trouble(f"{path}: {data.there} of {data.promised} bytes of sound: a cut file")
    if data.is_early:
        raise Trouble(
            f"{path}: expected the sound to end after {data.promised} bytes, as the header tells, found "
            f"{data.there - data.promised} more that are no chunk: a recorder that was cut off? Write its true sizes "
            f"with: sox --ignore-length {path.name} NEW{path.suffix}"
        )


def _unreadable(path: Path, error: OSError | soundfile.SoundFileError) -> Trouble:
    if not isinstance(error, soundfile.LibsndfileError):
        return Trouble(f"{path}: cannot be read as audio: {error}")
    cure = "fetch or copy it again"
    if error.code == NO_FORMAT:
        cure = f"if it is a recording, convert it with: ffmpeg -i {path} -ac 1 -ar 16000 NEW.wav"
    return Trouble(f"{path}: cannot be read as audio: {error.error_string.rstrip('.')}: {cure}")


def _damaged_rate(path: Path, rate: int) -> Trouble:
    return Trouble(f"{path}: {rate} samples a second: expected {LEAST_RATE} to {MOST_RATE}: a damaged header?")


def _order(path: Path) -> str:
    """Return the order of bytes in which a file of samples of two bytes is sound: BIG, unless it is noise in it."""
    big, little = (
        np.square(np.diff(np.fromfile(path, kind, BLOCK * SAMPLE_RATE).astype(np.float64))).sum()
        for kind in (">i2", "<i2")
    )
    return "LITTLE" if big > ROUGHER * little else "BIG"


def _mono(samples: NDArray[np.int16], tell: Callable[[str], None] | None) -> NDArray[np.int16]:
    """Return the mean [samples] of [samples, channels]; the loudest channel if little is left of all in the mean."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    mean: NDArray[np.float64] = samples.mean(1)
    if not len(samples) or mean.var() >= LEAST_LEFT * (powers := samples.var(0)).mean():
        return np.round(mean).astype(np.int16)
    if tell:
        tell("channels cancel each other, as if one were inverted: the loudest is used instead of their mean")
    loudest: NDArray[np.int16] = samples[:, powers.argmax()]
    return loudest


def _read(stream: soundfile.SoundFile, count: int | None) -> NDArray[np.int16]:
    """Return the next [samples, channels], at most `count`; None: all of them.

    They are read block by block: a FLAC file that was written to a pipe does not know how many it holds.
    """
    size = BLOCK * stream.samplerate
    blocks = []
    left = count
    while left is None or left > 0:
        blocks.append(_read_block(stream, size if left is None else min(size, left)))
        if not len(blocks[-1]):
            break
        left = None if left is None else left - len(blocks[-1])
    return np.concatenate(blocks) if blocks else np.zeros((0, stream.channels), np.int16)


def _read_block(stream: soundfile.SoundFile, count: int) -> NDArray[np.int16]:
    """Return the next [samples, channels], at most `count`."""
    if stream.subtype not in ("FLOAT", "DOUBLE"):
        whole: NDArray[np.int16] = stream.read(count, dtype="int16", always_2d=True)
        return whole
    fractions: Floats = stream.read(count, dtype="float32", always_2d=True)  # read as int16 they would be -1, 0 or 1
    if not np.isfinite(fractions).all():
        raise Trouble(f"{_name(stream)}: holds samples that are no finite numbers: expected sound from -1 to 1")
    stream.peak = max(stream.peak, float(np.abs(fractions).max(initial=0)))
    if stream.peak > MOST_PEAK:
        raise Trouble(f"{_name(stream)}: holds samples up to {stream.peak:g}: expected sound from -1 to 1: scale it")
    return np.clip(np.round(fractions * 32768), -32768, 32767).astype(np.int16)


def _name(stream: soundfile.SoundFile) -> str:
    return os.fsdecode(stream.name) if isinstance(stream.name, bytes) else str(stream.name.name)


def _tell_clipped(stream: soundfile.SoundFile, tell: Callable[[str], None] | None) -> None:
    if tell is not None and stream.peak > FULL_SCALE:
        tell(f"samples reach {stream.peak:.3g}: expected -1 to 1: what is beyond was clipped")


def resample(samples: NDArray[np.int16], rate: int) -> NDArray[np.int16]:
    """Resample [samples] from `rate` Hz to 16 kHz by truncating the spectrum: exact for frequencies below 8 kHz."""
    if rate == SAMPLE_RATE:
        return samples
    block = rate // np.gcd(rate, SAMPLE_RATE)
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % block))
    length = len(padded) * SAMPLE_RATE // rate
    spectrum = np.fft.rfft(padded)
    changed = np.fft.irfft(spectrum[: length // 2 + 1], length) * (length / len(padded))
    return np.clip(np.round(changed), -32768, 32767).astype(np.int16)


def without_offset(samples: Floats) -> Floats:
    """Return [samples] around zero: some recorders add a constant, which would outshine the lowest mel bands.

    Digital silence in a recording with an offset stays what it is.
    """
    silent = _digital_silence(samples)
    heard = samples[~silent]
    offset = float(heard.mean(dtype=np.float64)) if len(heard) else 0.0
    if abs(offset) < LEAST_OFFSET:
        return samples
    changed: Floats = np.where(silent, np.float32(0), samples - np.float32(offset))
    return changed


def _digital_silence(samples: Floats) -> Flags:
    """Return [samples]: whether each is part of zeros that fill a window."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], samples == 0, [False]])))
    silent = np.zeros(len(samples), np.bool_)
    for start, end in edges.reshape(-1, 2):
        if end - start >= WINDOW:
            silent[start:end] = True
    return silent


def speech_mel(samples: Floats) -> Floats:
    """Return the [frames, 27] of [samples] that training and transcribing use: see `log_mel` and `without_quiet`."""
    return without_quiet(log_mel(without_offset(samples)))


def rise(mel: Floats) -> float:
    """Return how far, in ln energy, the loudest part of [frames, 27] is above their background; 0: digital silence.

    Where it is less than LEAST_RISE nobody speaks. Normalisation would make the background as loud as speech.
    """
    loudness, background = _loudness(mel)
    return float(loudness.max() - background) if np.isfinite(background) else 0.0


def without_quiet(mel: Floats) -> Floats:
    """Return [frames', 27]: the frames without most of every long part in which nobody speaks.

    Such parts would decide the normalisation, and the network has learnt little of them. If nothing rises above the
    background, all frames stay.
    """
    kept = kept_frames(mel)
    return mel if kept.all() else mel[kept]


def has_long_pause(mel: Floats) -> bool:
    """Return whether `without_quiet` cuts a part between two of speech out of [frames, 27]."""
    kept = np.flatnonzero(kept_frames(mel))
    return len(kept) > 0 and len(kept) <= kept[-1] - kept[0]


def kept_frames(mel: Floats) -> Flags:
    """Return [frames]: whether `without_quiet` keeps each of [frames, 27]."""
    loudness, background = _loudness(mel)
    spoken = np.flatnonzero(loudness >= background + LEAST_RISE)
    if not len(spoken):
        return np.ones(len(mel), np.bool_)
    kept = np.ones(len(mel), np.bool_)
    seconds = LONGEST_QUIET, LONGEST_END, KEPT_QUIET
    longest, longest_end, margin = (round(second * SAMPLE_RATE / STEP) for second in seconds)
    befores, afters = np.append(-1, spoken), np.append(spoken, len(mel))  # ends of the recording included
    for before, after in zip(befores, afters, strict=True):
        if after - before > (longest if before >= 0 and after < len(mel) else longest_end):
            kept[before + 1 + margin if before >= 0 else 0 : after - margin if after < len(mel) else after] = False
    return kept


def loud_part(mel: Floats) -> tuple[int, int]:
    """Return the first frame of [frames, 27] that is a quarter of the way to the loudest, and the one after the last.

    Of speech in a quiet room these are its beginning and its end; noise before or after makes it longer.
    """
    loudness, background = _loudness(mel)
    if not np.isfinite(background):
        return 0, len(mel)
    loud = np.flatnonzero(loudness >= background + (loudness.max() - background) / 4)
    return int(loud[0]), int(loud[-1]) + 1


def _loudness(mel: Floats) -> tuple[Floats, float]:
    """Return [frames] log energies without clicks, and that of the background; infinite: there is only silence."""
    energies = above_rounding(mel[:, -1])
    audible = energies[mel[:, -1] >= SILENT]
    if not len(audible):
        return energies, np.inf
    around = np.lib.stride_tricks.sliding_window_view(np.pad(energies, 2, constant_values=-np.inf), 5)
    return np.median(around, 1), float(np.percentile(audible, 10))


def above_rounding(energies: Floats) -> Floats:
    """Return the log [energies] with the noise that rounding to 16 bits makes, unless zeros are rounded."""
    louder: Floats = np.logaddexp(energies, np.float32(ROUNDING))
    return louder


def frame_count(samples: int) -> int:
    """Return how many frames `mfcc` makes of so many samples."""
    every = 1 + max(0, -(-(samples - WINDOW) // (STEP // 2)))  # python_speech_features' count at 10 ms
    return -(-every // 2)


def mfcc(samples: Floats) -> Floats:
    """Return the [frames, 26] coefficients of [samples] at 16 kHz."""
    return cepstra(log_mel(samples))


def log_mel(samples: Floats, *, with_rumble: bool = False) -> Floats:
    """Return [frames, 27] of [samples] at 16 kHz: the logarithms of 26 filter bank energies and of the frame energy.

    Frames that a rumble outshines are those without it, but for an export `with_rumble`.
    """
    count = frame_count(len(samples))
    emphasised = np.zeros((count - 1) * STEP + WINDOW + 2 * REACH, np.float32)
    used = min(len(samples), len(emphasised) - 2 * REACH)
    heard = emphasised[REACH : REACH + used]
    heard[0] = samples[0]
    np.subtract(samples[1:used], PREEMPHASIS * samples[: used - 1], out=heard[1:], casting="same_kind")
    return log_energies(emphasised, with_rumble=with_rumble).astype(np.float32, copy=False)


def log_energies(emphasised: Reals, *, with_rumble: bool = False) -> Reals:
    """Return the [frames, 27] of pre-emphasised [samples], of which the first and last REACH are in no frame."""
    rows = np.lib.stride_tricks.sliding_window_view(emphasised, REACH + WINDOW + REACH)[::STEP]
    power = _power(rows[:, REACH:-REACH])
    energy = power.sum(1, keepdims=True)
    rumbles = np.flatnonzero(power[:, :SLOW].sum(1) > LEAST_RUMBLE * energy[:, 0])
    if len(rumbles) and not with_rumble:
        calm = _power(_calm(rows[rumbles]))
        power[rumbles], energy[rumbles] = calm * _gains(), calm.sum(1, keepdims=True)
    logarithms: Reals = np.log(np.maximum(np.concatenate([power @ filter_bank(), energy], 1), FLOOR))
    return logarithms


def _power(frames: Reals) -> Reals:
    """Return the [frames, 257] spectrum of [frames, 400]."""
    spectrum = fft.rfft(frames, FFT)  # scipy vectorises over frames, numpy does not
    power: Reals = (spectrum.real**2 + spectrum.imag**2) / FFT
    return power


def _calm(rows: Reals) -> Reals:
    """Return [rows, samples] without what is slow: 25 Hz by 50 dB, 50 by 27, 100 by 6; REACH fewer at each end."""
    for _ in range(2):
        sums = np.cumsum(np.pad(rows, ((0, 0), (1, 0))), 1, np.float64)
        rows = rows[:, CALM // 2 : -(CALM // 2)] - (sums[:, CALM:] - sums[:, :-CALM]) / CALM
    return rows


@cache
def _gains() -> Floats:
    """Return [257]: what makes up in the filter bank for the power that `_calm` takes, from 60 Hz on."""
    click = np.eye(1, 4 * REACH + 1, 2 * REACH)
    gains: Floats = (1 / np.maximum(FFT * _power(_calm(click))[0], 0.01)).astype(np.float32)
    return gains


def cepstra(mel: Floats) -> Floats:
    """Return the [frames, 26] cepstral coefficients of [frames, 27] from `log_mel`; the first is the log energy."""
    coefficients: Floats = mel[:, :COEFFICIENTS] @ cosines()  # [frames, 26]
    coefficients[:, 0] = mel[:, COEFFICIENTS]
    return coefficients


def filled(features: Floats) -> Floats:
    """Return [frames, 26] with digital silence, as of a muted microphone, replaced by the quietest tenth of the others.

    So are zeros with single steps of rounding. The log energy of zeros is so low that it would dominate mean and
    standard deviation, and all speech would look alike. Nothing else is changed.
    """
    silent = features[:, 0] < STEPS
    audible = np.flatnonzero(~silent)
    if len(audible) in (0, len(features)):
        return features
    quiet = audible[np.argsort(features[audible, 0], kind="stable")[: -(-len(audible) // 10)]]
    changed = features.copy()
    changed[silent] = features[np.resize(quiet, silent.sum())]  # in turn: one frame repeated has no deviation
    return changed


def normalise_each(features: Floats) -> Floats:
    """Per-coefficient mean 0 and standard deviation 1 over the utterance; digital silence is filled first."""
    features = filled(features)
    normalised: Floats = (features - features.mean(0)) / (features.std(0) + np.float32(1e-5))
    return normalised


def normalise_all(features: Floats) -> Floats:
    """Mean 0 and standard deviation 1 over all coefficients of the utterance, as in 2016; silence is filled first."""
    features = filled(features)
    normalised: Floats = (features - features.mean()) / (features.std() + np.float32(1e-5))
    return normalised


NORMALISATIONS = {"each": normalise_each, "all": normalise_all}  # those that need the whole utterance


def mel_corners() -> NDArray[np.float64]:
    """Return [28] Hz: filter i begins at corner i, peaks at i + 1 and ends at i + 2."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz: NDArray[np.float64] = 700 * (10 ** (np.linspace(0, top, COEFFICIENTS + 2) / 2595) - 1)
    return hertz


@cache
def filter_bank() -> Floats:
    """Return [257, 26] triangular filters, evenly spaced on the mel scale from 0 to 8000 Hz."""
    corners = np.floor((FFT + 1) * mel_corners() / SAMPLE_RATE)  # the rounding of python_speech_features
    bank = np.zeros((FFT // 2 + 1, COEFFICIENTS))
    for index, (left, middle, right) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        rising, falling = np.arange(int(left), int(middle)), np.arange(int(middle), int(right))
        bank[rising, index] = (rising - left) / (middle - left)
        bank[falling, index] = (right - falling) / (right - middle)
    return bank.astype(np.float32)


@cache
def cosines() -> Floats:
    """Return the [26, 26] orthonormal DCT-II, multiplied by the lifter."""
    n = np.arange(COEFFICIENTS)
    cosines = np.cos(np.pi / COEFFICIENTS * (n[:, None] + 0.5) * n) * np.sqrt(2 / COEFFICIENTS)
    cosines[:, 0] /= np.sqrt(2)
    lift = 1 + LIFTER / 2 * np.sin(np.pi * n / LIFTER)
    matrix: Floats = (cosines * lift).astype(np.float32)
    return matrix
