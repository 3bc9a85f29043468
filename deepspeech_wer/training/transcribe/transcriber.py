"""Transcribes recordings and streams with an exported network, and prints the lines of the command."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
from .recogniser import Finish, LanguageWeights, Recogniser
from .streaming import StreamRecogniser

OWN = "own"  # the language model in the export
WHOLE = 4  # blocks, 40 s: recordings up to this length are scored whole; corpora have no longer utterances
LONG_EVERY = 10 * streaming.EVERY  # samples between results: partial ones of a file are not printed
DEFAULT = LanguageWeights("", alpha=0.8, beta=0.5, beam_width=100)  # if the export has no weights


@dataclass(frozen=True)
class Options:
    """What the command line asks for. None: as in the export; without `language_model`, greedy decoding."""

    model: Path
    language_model: str | None = None  # a file, or OWN
    alpha: float | None = None
    beta: float | None = None
    beam_width: int | None = None
    threads: int = 1


def transcribe_files(options: Options, paths: Sequence[Path]) -> int:
    """Print a line for each file; return 1 if one could not be read, else 0. Raises Trouble for an unusable model."""
    recogniser = Recogniser(options.model, threads=options.threads)
    finish = _finish(recogniser, options)
    code = 0
    with _until_reader_leaves():
        for path in paths:
            try:
                _transcribe_file(path, recogniser, finish)
            except Trouble as trouble:
                print(trouble, file=sys.stderr, flush=True)
                code = 1
    return code


def transcribe_stream(options: Options, source: BinaryIO) -> int:
    """Print the results of raw samples until they end or the user interrupts; return 0. Raises Trouble."""
    recogniser = Recogniser(options.model, threads=options.threads)
    stream = StreamRecogniser(recogniser, _finish(recogniser, options))
    with _until_reader_leaves():
        with suppress(KeyboardInterrupt):
            for samples in _pieces(source):
                for result in stream.feed(samples):
                    _print_result(result)
                _tell("-", stream)
        for result in stream.close():
            _print_result(result)
        _tell("-", stream)
    return 0


def _tell(name: object, stream: StreamRecogniser) -> None:
    """Tell the stream's warning, once."""
    if stream.warning:
        print(f"{name}: {stream.warning}", file=sys.stderr, flush=True)
        stream.warning = None


@contextmanager
def _until_reader_leaves() -> Iterator[None]:
    """End quietly when the reader of the output, such as `head`, closes it. Raises Trouble for other write errors."""
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at exit
        if not isinstance(error, BrokenPipeError):
            raise Trouble(f"the text cannot be written: {error.strerror}") from error


def _finish(recogniser: Recogniser, options: Options) -> Finish:
    """Return the decoder of final texts."""
    found = search(recogniser, options)
    return found.text if found else recogniser.greedy


def search(recogniser: Recogniser, options: Options) -> BeamSearch | None:
    """Return the beam search with the language model, None without one; weights not given are the export's."""
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
        raise Trouble(f"{path}: no language model was exported: {found}: name a file with --lm")
    return path


def _transcribe_file(path: Path, recogniser: Recogniser, finish: Finish) -> None:
    """Print the line of one file. Raises Trouble if it cannot be read."""
    started = time.process_time()

    def tell(doubt: str) -> None:
        print(f"{path}: {doubt}", file=sys.stderr, flush=True)

    count, text = transcribe_blocks(audio.read_blocks(path, tell), recogniser, finish, tell)
    seconds = count / audio.SAMPLE_RATE
    factor = (time.process_time() - started) / seconds
    print(f"{path}\t{seconds:.2f}\t{factor:.4f}\t{text}", flush=True)


def transcribe_blocks(
    blocks: Iterator[Floats], recogniser: Recogniser, finish: Finish, tell: Callable[[str], None] | None = None
) -> tuple[int, str]:
    """Return (number of samples, text) of a recording: scored whole if short, as in training, else as a stream.

    `tell` is called if its beginning makes errors likely.
    """
    first = list(islice(blocks, WHOLE + 1))
    if tell and (warning := recogniser.warning(np.concatenate(first))):
        tell(warning)
    if len(first) <= WHOLE:
        samples = np.concatenate(first)
        return len(samples), recogniser.text(samples, finish)
    stream = StreamRecogniser(recogniser, finish, LONG_EVERY)
    count = 0
    results: list[streaming.Result] = []
    for block in chain(first, blocks):
        count += len(block)
        results += stream.feed(block)
    results += stream.close()
    return count, " ".join(result.text for result in results if result.final)


def _pieces(source: BinaryIO) -> Iterator[Floats]:
    """Yield [samples] of a stream of raw 16-bit samples, 200 ms at a time."""
    data = source.read(2 * streaming.EVERY)
    if data.startswith((b"RIFF", b"fLaC", b"OggS", b"ID3")):
        raise Trouble("standard input is an audio file: expected raw samples (16 kHz, 16 bits): give it as FILE")
    while data:
        yield np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32)
        data = source.read(2 * streaming.EVERY)


def _print_result(result: streaming.Result) -> None:
    kind = "final" if result.final else "partial"
    print(f"{kind}\t{result.start:.2f}\t{result.end:.2f}\t{result.text}", flush=True)
