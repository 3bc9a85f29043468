"""What `transcribe` does: recordings and streams of speech to lines of text, by an exported network."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...errors import Trouble
from .. import audio
from ..arrays import Floats
from ..lm import language
from ..lm.beam import BeamSearch
from . import streaming
from .recogniser import LanguageWeights, Recogniser
from .streaming import Finish, StreamRecogniser

OWN = "own"  # the language model in the export
WHOLE = 4  # blocks of a recording, 40 s, that are heard at once; corpora have no longer utterances
LONG_EVERY = 10 * streaming.EVERY  # samples: no partial results are wanted of a long recording
DEFAULT = LanguageWeights("", alpha=0.8, beta=0.5, beam_width=100)  # where the export does not say


@dataclass(frozen=True)
class Options:
    """How to hear. None: as the export says, but for the language model: without one."""

    model: Path
    language_model: str | None = None  # a file, or OWN
    alpha: float | None = None
    beta: float | None = None
    beam_width: int | None = None
    threads: int = 1


def transcribe_files(options: Options, paths: Sequence[Path]) -> int:
    """Print a line for each file; return 1 if one could not be heard, else 0. Raises Trouble for the model."""
    recogniser = Recogniser(options.model, threads=options.threads)
    finish = _finish(recogniser, options)
    code = 0
    with _until_nobody_reads():
        for path in paths:
            try:
                _transcribe_file(path, recogniser, finish)
            except Trouble as trouble:
                print(trouble, file=sys.stderr, flush=True)
                code = 1
    return code


def transcribe_stream(options: Options, source: BinaryIO) -> int:
    """Print what is heard in raw samples until they end, or somebody interrupts from the keyboard; return 0."""
    recogniser = Recogniser(options.model, threads=options.threads)
    listener = StreamRecogniser(recogniser, _finish(recogniser, options))
    with _until_nobody_reads():
        with suppress(KeyboardInterrupt):
            for samples in _pieces(source):
                for result in listener.feed(samples):
                    _say(result)
        for result in listener.close():
            _say(result)
    return 0


@contextmanager
def _until_nobody_reads() -> Iterator[None]:
    """End quietly when whoever reads the output, `head` say, has seen enough. Raises Trouble where it is full."""
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what python flushes at its end
        if not isinstance(error, BrokenPipeError):
            raise Trouble(f"the text cannot be written: {error.strerror}") from error


def _finish(recogniser: Recogniser, options: Options) -> Finish:
    """What makes final texts of logits."""
    found = search(recogniser, options)
    return found.text if found else recogniser.greedy


def search(recogniser: Recogniser, options: Options) -> BeamSearch | None:
    """The search with the language model that is options, if one is: weights not given are those of the export."""
    if options.language_model is None:
        return None
    chosen = recogniser.description.language_model or DEFAULT
    path = _own_model(recogniser) if options.language_model == OWN else Path(options.language_model)
    return BeamSearch(
        language.load(path),
        recogniser.alphabet,
        alpha=chosen.alpha if options.alpha is None else options.alpha,
        beta=chosen.beta if options.beta is None else options.beta,
        width=options.beam_width or chosen.beam_width,
    )


def _own_model(recogniser: Recogniser) -> Path:
    path = recogniser.language_model
    if not path.exists():
        weights = recogniser.description.language_model
        found = f"it was tested with {weights.file}" if weights else "the training made none (ds_decoders=lm does)"
        raise Trouble(f"{path}: no language model was exported: {found}: name a file by --lm")
    return path


def _transcribe_file(path: Path, recogniser: Recogniser, finish: Finish) -> None:
    """Print the line of one file."""
    started = time.process_time()
    count, text = transcribe_blocks(audio.read_blocks(path), recogniser, finish)
    seconds = count / audio.SAMPLE_RATE
    factor = (time.process_time() - started) / seconds
    print(f"{path}\t{seconds:.2f}\t{factor:.4f}\t{text}", flush=True)


def transcribe_blocks(blocks: Iterator[Floats], recogniser: Recogniser, finish: Finish) -> tuple[int, str]:
    """(samples, text) of a recording: whole while it is short, as it was in training; in stretches when it is long."""
    first = list(islice(blocks, WHOLE + 1))
    if len(first) <= WHOLE:
        samples = np.concatenate(first)
        return len(samples), finish(recogniser.logits(samples))
    listener = StreamRecogniser(recogniser, finish, LONG_EVERY)
    count = 0
    results: list[streaming.Result] = []
    for block in chain(first, blocks):
        count += len(block)
        results += listener.feed(block)
    results += listener.close()
    return count, " ".join(result.text for result in results if result.final)


def _pieces(source: BinaryIO) -> Iterator[Floats]:
    """The samples of a stream of raw 16-bit ones, 200 ms at a time."""
    data = source.read(2 * streaming.EVERY)
    if data.startswith((b"RIFF", b"fLaC", b"OggS", b"ID3")):
        raise Trouble("the standard input is an audio file: expected raw samples (16 kHz, 16 bits): give it as FILE")
    while data:
        yield np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32)
        data = source.read(2 * streaming.EVERY)


def _say(result: streaming.Result) -> None:
    kind = "final" if result.final else "partial"
    print(f"{kind}\t{result.start:.2f}\t{result.end:.2f}\t{result.text}", flush=True)
