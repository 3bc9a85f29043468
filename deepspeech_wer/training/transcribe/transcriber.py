"""Transcribes recordings and streams with an exported network, and prints the lines of the command."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import Trouble
from .. import audio, containers
from ..arrays import Floats
from ..lm import language
from ..lm.beam import BeamSearch
from ..lm.free import Free
from ..outputs import until_reader_leaves
from ..text import ENGLISH, Alphabet, Bytes
from . import streaming
from .carried import CarriedStream
from .details import Details, Wanted
from .recogniser import Finish, LanguageWeights, Recogniser
from .streaming import Result, StreamRecogniser

GREEDY, LM = "greedy", "lm"  # as ds_decoder has them
FREE_WIDTH = 20  # texts in a beam without a language model
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
    hot_words: Mapping[str, float] = field(default_factory=dict)  # boosts in ln P
    details: Wanted | None = None  # None: lines of text instead of JSON


def transcribe_files(options: Options, paths: Sequence[Path]) -> int:
    """Print a line for each file; return 1 if one could not be read, else 0. Raises Trouble for an unusable model."""
    printer = _Printer(options)
    code = 0
    with until_reader_leaves():
        for path in paths:
            try:
                printer.transcribe(path)
            except Trouble as trouble:
                print(trouble, file=sys.stderr, flush=True)
                code = 1
    return code


def transcribe_stream(options: Options, source: BinaryIO) -> int:
    """Print the results of raw samples until they end or the user interrupts; return 0. Raises Trouble."""
    printer = _Printer(options)
    stream = listener(printer.recogniser, printer.finish)
    with until_reader_leaves():
        with suppress(KeyboardInterrupt):
            for samples in _pieces(source, stream.every):
                for result in stream.feed(samples):
                    printer.show(result)
                _tell("-", stream)
        for result in stream.close():
            printer.show(result)
        _tell("-", stream)
    return 0


class _Printer:
    """Transcribes as the options say, and prints the lines."""

    def __init__(self, options: Options) -> None:
        self.recogniser = Recogniser(options.model, threads=options.threads)
        found = search(self.recogniser, options)
        self.finish: Finish = found.text if found else self.recogniser.greedy
        self.details = None
        if options.details is not None:
            alternatives = found or (free_search(self.recogniser, options) if options.details.alternatives else None)
            decoder = LM if options.language_model else GREEDY
            self.details = Details(self.recogniser, options.details, alternatives, decoder)

    def transcribe(self, path: Path) -> None:
        """Print the line of one file. Raises Trouble if it cannot be read."""
        started = time.process_time()

        def tell(doubt: str) -> None:
            print(f"{path}: {doubt}", file=sys.stderr, flush=True)

        with _seekable(path) as place:
            try:
                count, results = recognise_blocks(audio.read_blocks(place, tell), self.recogniser, self.finish, tell)
            except Trouble as trouble:
                raise Trouble(str(trouble).replace(str(place), str(path))) from trouble
        text, seconds = " ".join(one.text for one in results), count / audio.SAMPLE_RATE
        factor = (time.process_time() - started) / seconds
        if self.details is None:
            print(f"{path}\t{seconds:.2f}\t{factor:.4f}\t{text}", flush=True)
            return
        record = {"file": str(path), "seconds": round(seconds, 2), "real_time_factor": round(factor, 4), "text": text}
        found = [self.details.of(one) for one in results]
        record["words"] = [word for one in found for word in one["words"]]
        if self.details.wanted.alternatives:
            record["segments"] = [
                {
                    "begin": round(one.start, 2),
                    "end": round(one.end, 2),
                    "text": one.text,
                    "alternatives": more["alternatives"],
                }
                for one, more in zip(results, found, strict=True)
            ]
        _print_json(record)

    def show(self, result: Result) -> None:
        """Print the line of a stream's result."""
        kind = "final" if result.final else "partial"
        if self.details is None:
            print(f"{kind}\t{result.start:.2f}\t{result.end:.2f}\t{result.text}", flush=True)
            return
        record = {"type": kind, "begin": result.start, "end": result.end, "text": result.text}
        _print_json(record | (self.details.of(result) if result.final else {}))


@contextmanager
def _seekable(path: Path) -> Iterator[Path]:
    """Give the path of a recording; of what comes through a pipe, a copy in a temporary file. Raises Trouble."""
    if not path.is_fifo():
        yield path
        return
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(tempfile.NamedTemporaryFile(suffix=path.suffix))
            with path.open("rb") as pipe:
                shutil.copyfileobj(pipe, copy)
            copy.flush()
        except OSError as error:
            raise Trouble(f"{path}: cannot be copied to a temporary file: {error.strerror}: set TMPDIR") from error
        yield Path(copy.name)


def _print_json(record: Mapping[str, Any]) -> None:
    print(json.dumps(record, ensure_ascii=False), flush=True)


def _tell(name: object, stream: StreamRecogniser | CarriedStream) -> None:
    """Tell the stream's warning, once."""
    if stream.warning:
        print(f"{name}: {stream.warning}", file=sys.stderr, flush=True)
        stream.warning = None


def search(recogniser: Recogniser, options: Options) -> BeamSearch | None:
    """Return the beam search with the language model; weights not given are the export's.

    Without a model: None, or a search for the hot words alone.
    """
    if options.language_model is None:
        return free_search(recogniser, options) if options.hot_words else None
    chosen = recogniser.description.language_model or DEFAULT
    path = _own_model(recogniser) if options.language_model == OWN else Path(options.language_model)
    return search_of(recogniser.alphabet, replace(options, language_model=str(path)), chosen)


def search_of(alphabet: Alphabet, options: Options, chosen: LanguageWeights = DEFAULT) -> BeamSearch:
    """Return the beam search with the language model in the file that the options name. Raises Trouble."""
    return BeamSearch(
        language.load(Path(options.language_model or "")),
        alphabet,
        alpha=chosen.alpha if options.alpha is None else options.alpha,
        beta=chosen.beta if options.beta is None else options.beta,
        width=options.beam_width or chosen.beam_width,
        hot=options.hot_words,
    )


def free_search(recogniser: Recogniser, options: Options) -> BeamSearch:
    """Return a beam search in which no language model has a say."""
    alphabet = recogniser.alphabet
    width = options.beam_width or FREE_WIDTH
    letters = (
        ENGLISH if isinstance(alphabet, Bytes) else alphabet.letters
    )  # of which words are made; others are spelled
    return BeamSearch(Free(letters), alphabet, alpha=0, beta=0, width=width, hot=options.hot_words)


def _own_model(recogniser: Recogniser) -> Path:
    path = recogniser.language_model
    if not path.exists():
        weights = recogniser.description.language_model
        found = f"it was tested with {weights.file}" if weights else "the training made none (ds_decoders=lm does)"
        raise Trouble(f"{path}: no language model was exported: {found}: name a file with --lm")
    return path


def transcribe_blocks(blocks: Iterator[Floats], recogniser: Recogniser, finish: Finish) -> tuple[int, str]:
    """Return (number of samples, text) of a recording; see `recognise_blocks`."""
    count, results = recognise_blocks(blocks, recogniser, finish)
    return count, " ".join(one.text for one in results)


def recognise_blocks(
    blocks: Iterator[Floats], recogniser: Recogniser, finish: Finish, tell: Callable[[str], None] | None = None
) -> tuple[int, list[Result]]:
    """Return (number of samples, final results): a short recording is scored whole, as in training, else as a stream.

    One of more than ten seconds with a long pause is short utterances in a row, in which speaker and background may
    change: it is no whole. `tell` is called if the beginning makes errors likely.
    """
    first = list(islice(blocks, WHOLE + 1))
    if tell and (warning := recogniser.warning(np.concatenate(first))):
        tell(warning)
    samples = np.concatenate(first)
    is_row = 1 < len(first) <= WHOLE and recogniser.has_long_pause(samples)
    if len(first) <= WHOLE and not is_row:
        heard = recogniser.hear(samples, finish)
        whole = Result(final=True, start=0.0, end=len(samples) / audio.SAMPLE_RATE, text=heard.text, heard=heard)
        return len(samples), [whole]
    stream = listener(recogniser, finish, LONG_EVERY)
    count = 0
    results: list[Result] = []
    for block in chain(first, blocks):
        count += len(block)
        results += stream.feed(block)
    results += stream.close()
    return count, [one for one in results if one.final]


def listener(
    recogniser: Recogniser, finish: Finish | None = None, every: int | None = None
) -> StreamRecogniser | CarriedStream:
    """Return what recognises a stream: it carries the state of a network with look-ahead."""
    kind = CarriedStream if recogniser.description.lookahead else StreamRecogniser
    return kind(recogniser, finish) if every is None else kind(recogniser, finish, every)


def _pieces(source: BinaryIO, every: int) -> Iterator[Floats]:
    """Yield [samples] of a stream of raw 16-bit samples, `every` samples at a time."""
    data = source.read(2 * every)
    if containers.is_file(data):
        raise Trouble(
            "standard input is an audio file: expected raw samples (16 kHz, 16 bits): give it as FILE, or /dev/stdin"
        )
    while data:
        yield np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32)
        data = source.read(2 * every)
