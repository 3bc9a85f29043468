"""Five utterances of the test set as a figure: what was recognised, when, and how surely.

Drawn only in a notebook, as the curves are: the job that the notebook becomes scores nothing for it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import wer
from . import alignment, audio, decoding, spans
from .arrays import Floats
from .confidence import NONE, Calibrations
from .dataset import Item
from .evaluate import Evaluation, Hypothesis
from .network.model import Network
from .parameters import Parameters
from .sound import causal
from .spans import Frames

COUNT = 5
LONGEST = 8.0  # seconds: in longer ones the words are too narrow to be labelled
WIDTH, HEIGHT = 10.0, 1.75  # inches, the latter of each utterance
SURE, WRONG, MISSED = "#0072b2", "#d55e00", "#7f7f7f"  # distinct to colour-blind readers too (Okabe and Ito 2008)
TITLE = 110  # letters


@dataclass(frozen=True)
class Timed:
    """A word where it is in its recording, in seconds."""

    word: str
    begin: float
    end: float
    confidence: float | None = None  # None: of a transcript
    is_right: bool = True  # whether the transcript has the word that was recognised there, or the other way round


@dataclass(frozen=True)
class Shown:
    """An utterance of the figure."""

    id: str
    transcript: str
    mel: Floats  # [frames, 27] of the whole recording
    recognised: tuple[Timed, ...]
    missed: tuple[Timed, ...]  # words of the transcript that were not recognised as such


@dataclass(frozen=True)
class Trained:
    """A trained network, how it was tested, and the validation set that says how sure it may be."""

    network: Network
    parameters: Parameters
    test: Evaluation
    validation: Sequence[Item]
    calibrations: Calibrations  # of the export; without one they are found when the figure is drawn


@dataclass(frozen=True)
class WordTimes:
    """Words of the test set with their times, displayed as a figure by Jupyter."""

    trained: Trained

    def __repr__(self) -> str:
        count = len(chosen(self.trained.test.hypotheses))
        return f"utterances: {count}; the times of their words need matplotlib: pip install 'deepspeech-wer[notebook]'"

    def _repr_png_(self) -> bytes | None:
        try:
            import matplotlib  # noqa: F401  # before the network is asked
        except ModuleNotFoundError:
            return None  # Jupyter then shows the repr
        return png(shown(self.trained))


def chosen(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Return up to five utterances, the same ones in every run on a test set: from short to long.

    They are spread evenly over the lengths of those that are not too long to be drawn, if there are five.
    """
    ordered = sorted(hypotheses, key=lambda one: (one.item.frames, one.item.utterance.id))
    short = sum(one.item.seconds <= LONGEST for one in ordered)
    ordered = ordered[: max(COUNT, short)]
    count = min(COUNT, len(ordered))
    return [ordered[(2 * number + 1) * len(ordered) // (2 * count)] for number in range(count)]


def shown(trained: Trained) -> list[Shown]:
    """Return the utterances of the figure, aligned with their recordings. Raises Trouble if one cannot be read."""
    parameters, calibrations = trained.parameters, trained.calibrations
    decoder = trained.test.decoder
    if parameters.export_dir is None:
        calibrations = decoding.fit(trained.network, trained.validation, parameters, [decoder])
    calibration = calibrations.decoders.get(decoder.name, NONE)
    those = chosen(trained.test.hypotheses)
    scored = decoding.scored(trained.network, [one.item for one in those], parameters)
    logits = {item.utterance.id: one for item, one in scored}
    found = []
    for one in those:
        said = one.item.utterance
        mel, frames = _recording(one.item, parameters)
        recognised, transcript = (
            alignment.words(logits[said.id], text, parameters.alphabet) for text in (one.text, said.transcript)
        )
        right, known = _right(transcript, recognised)
        found_words = zip(recognised, spans.of_words(recognised, frames, calibrations.edges), right, strict=True)
        missed = zip(transcript, spans.of_words(transcript, frames, calibrations.edges), known, strict=True)
        found.append(
            Shown(
                said.id,
                said.transcript,
                mel,
                tuple(Timed(word.word, *span, calibration.of(word), is_right) for word, span, is_right in found_words),
                tuple(Timed(word.word, *span, None, is_right) for word, span, is_right in missed if not is_right),
            )
        )
    return found


def _recording(item: Item, parameters: Parameters) -> tuple[Floats, Frames]:
    """Return the [frames, 27] of the whole recording, and the frames of it that the network heard."""
    said = item.utterance
    samples = audio.read_audio(said.audio, *(said.segment or ()), convert=parameters.resample)
    if parameters.lookahead:
        mel = causal.log_mel(samples)
        heard, places = causal.kept(samples)
    else:
        mel = audio.log_mel(audio.without_offset(samples))
        places = np.flatnonzero(audio.kept_frames(mel))
        heard = mel[places]
    if not len(places):  # nothing is speech: all of it was heard
        heard, places = mel, np.arange(len(mel))
    return mel, Frames(places, heard[:, -1])


def _right(transcript: Sequence[alignment.Word], recognised: Sequence[alignment.Word]) -> tuple[list[bool], list[bool]]:
    """Return whether each recognised word is right, and whether each word of the transcript was recognised."""
    pairs = wer.align([one.word for one in transcript], [one.word for one in recognised]).pairs
    right = [reference == hypothesis for reference, hypothesis in pairs if hypothesis is not None]
    return right, [reference == hypothesis for reference, hypothesis in pairs if reference is not None]


def png(utterances: Sequence[Shown]) -> bytes:
    """Return the figure as a PNG. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # not pyplot, which needs a display and keeps state

    rows = max(1, len(utterances))
    figure = Figure((WIDTH, HEIGHT * rows), layout="constrained")
    for axes, one in zip(figure.subplots(rows, 1, squeeze=False)[:, 0], utterances, strict=False):
        _draw(axes, one)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # matplotlib's font has not all of Unicode
        figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def _draw(axes: Any, one: Shown) -> None:
    """Draw an utterance: recognised words above its mel bands, what they should have been below."""
    seconds = len(one.mel) * spans.FRAME
    bands = one.mel[:, :-1].T
    low, high = np.percentile(bands[:, one.mel[:, -1] >= audio.SILENT], (5, 99.5)) if _audible(one.mel) else (0, 1)
    axes.imshow(bands, cmap="Greys", vmin=low, vmax=high, aspect="auto", origin="lower", extent=(0, seconds, 0, 1))
    for word in one.recognised:
        _box(axes, word, 1.05, SURE if word.is_right else WRONG)
    for word in one.missed:
        _box(axes, word, -0.4, MISSED)
    axes.set_xlim(0, seconds)
    axes.set_ylim(-0.45 if one.missed else 0, 1.45)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    title = f"{one.id}: {one.transcript}"
    axes.set_title(title if len(title) <= TITLE else f"{title[: TITLE - 1]}…", loc="left", fontsize=8, parse_math=False)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("seconds", fontsize=7, labelpad=0)


def _audible(mel: Floats) -> bool:
    return bool((mel[:, -1] >= audio.SILENT).any())


def _box(axes: Any, word: Timed, bottom: float, colour: str) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    sure = 0.0 if word.confidence is None else word.confidence
    width = max(word.end - word.begin, spans.FRAME)
    axes.add_patch(
        Rectangle(
            (word.begin, bottom),
            width,
            0.35,
            facecolor=to_rgba(colour, 0.1 + 0.5 * sure),
            edgecolor=colour,
            linewidth=1,
        )
    )
    axes.vlines((word.begin, word.begin + width), *sorted((bottom, 0.5)), colors=colour, linewidth=0.5)
    label = word.word if word.confidence is None else f"{word.word}\n{100 * sure:.0f} %"
    axes.text(
        word.begin + width / 2,
        bottom + 0.175,
        label,
        ha="center",
        va="center",
        fontsize=7,
        linespacing=0.95,
        parse_math=False,
        clip_on=True,
    )
