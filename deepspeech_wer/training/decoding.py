"""The decoders of a run: the language model is read or estimated, and its weights are set or tuned."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from . import alignment, audio, confidence
from .batches import Most, assemble, batches_by_length
from .confidence import Calibrations
from .corpus import file_sha256
from .dataset import Item
from .decoders import Decoder, Lengths, Logits, beam_decoder, greedy_decoder
from .lm import arpa, language, ngram, weights
from .lm.beam import BeamSearch
from .lm.weights import Weights
from .network.model import Network
from .parameters import BEAM, GREEDY, LM, Parameters
from .text import clean
from .transcribe.recogniser import LANGUAGE_MODEL

MOST_FOR_WEIGHTS = 200  # validation utterances: enough for two weights, and a bound for large corpora


@dataclass(frozen=True)
class LmSearch:
    """A beam search with a language model, and what hyper.json records about the model."""

    search: BeamSearch
    signature: str
    settings: Mapping[str, object]
    path: Path


def prepare_search(parameters: Parameters, items: Sequence[Item], run_dir: Path) -> LmSearch | None:
    """Return the search of decoder lm, with its weights not yet set; None if the run does not use that decoder.

    The model is the one at `ds_lm_path`, or is estimated from the transcripts of the training `items` and written to
    `run_dir` as `lm.arpa`. Called before the training: raises Trouble for a model that cannot be used.
    """
    if LM not in parameters.all_decoders:
        return None
    if parameters.lm_path is None and not any(" " in clean(item.utterance.transcript) for item in items):
        print(
            "in doubt: no training transcript has a space, so the language model takes each for one word: expected "
            "spaces between words, or ds_decoder=beam",
            file=sys.stderr,
            flush=True,
        )
    path = parameters.lm_path or make_model(items, parameters.lm_order, run_dir / LANGUAGE_MODEL)
    model, sha256 = language.load(path), file_sha256(path)
    search = BeamSearch(model, parameters.alphabet, alpha=1, beta=0, width=parameters.beam_width)
    # A given model is part of the measure; one estimated from the run's transcripts is part of what is measured.
    given = f"@{sha256[:8]}" if parameters.lm_path else ""
    return LmSearch(
        search,
        f"{LM}{model.order}{given}-{BEAM}{parameters.beam_width}",
        {"lm_path": path.name, "lm_sha256": sha256, "lm_order": model.order, "lm_words": len(model.words())},
        path,
    )


def prepare_decoders(
    parameters: Parameters, lm_search: LmSearch | None, network: Network, items: Sequence[Item]
) -> tuple[Decoder, ...]:
    """Return the decoders of the run, first that of `ds_decoder`, which gives `test_wer`.

    Weights of the language model that are not set are tuned on the validation `items`.
    """
    makers = {
        GREEDY: lambda: greedy_decoder(parameters.alphabet),
        BEAM: lambda: beam_decoder(parameters.alphabet, parameters.beam_width),
    }
    if lm_search is not None:
        makers[LM] = lambda: _lm_decoder(parameters, lm_search, network, items)
    return tuple(makers[name]() for name in parameters.all_decoders)


def _lm_decoder(parameters: Parameters, lm_search: LmSearch, network: Network, items: Sequence[Item]) -> Decoder:
    search = lm_search.search
    weights = _weights(search, network, items, parameters)
    chosen = "" if weights.wer is None else f", validation WER {weights.wer:.2%}"
    print(f"{lm_search.settings['lm_path']}: alpha {weights.alpha:g}, beta {weights.beta:g}{chosen}", flush=True)
    settings = {"lm_alpha": weights.alpha, "lm_beta": weights.beta, "lm_validation_wer": weights.wer}

    def texts(logits: Logits, lengths: Lengths) -> list[str]:
        return [search.text(logits[:length, row]) for row, length in enumerate(lengths)]

    return Decoder(LM, lm_search.signature, texts, {**lm_search.settings, **settings}, lm_search.path)


def calibrate(
    network: Network, sets: Mapping[str, Sequence[Item]], parameters: Parameters, decoders: Sequence[Decoder]
) -> Calibrations:
    """Return what an export says of its words' confidences, by decoder, and of their times; nothing without an export.

    They are fitted to the validation set, and the error is measured on at most 200 utterances of the test set.
    """
    if parameters.export_dir is None:
        return Calibrations()
    fitted = fit(network, sets["dev"], parameters, decoders)
    heard = list(_score(network, _some(sets["test"]), parameters))
    measured = {
        one.name: confidence.measured(fitted.decoders[one.name], _judged(one, heard, parameters))
        for one in decoders
        if one.name in fitted.decoders
    }
    return replace(fitted, decoders=measured)


def fit(network: Network, items: Sequence[Item], parameters: Parameters, decoders: Sequence[Decoder]) -> Calibrations:
    """Return the calibrations that follow from at most 200 of the validation `items`, without their errors."""
    known = list(scored(network, _some(items), parameters))
    heard = [(logits, item.utterance.transcript) for item, logits in known]
    found = {one.name: confidence.fit(_judged(one, heard, parameters)) for one in decoders}
    spans = [
        (audio.loud_part(np.load(item.mel)), alignment.words(logits, item.utterance.transcript, parameters.alphabet))
        for item, logits in known
    ]
    return Calibrations(
        {name: one for name, one in found.items() if one is not None},
        alignment.edges(spans, audio.STEP / audio.SAMPLE_RATE),
    )


def _judged(
    decoder: Decoder, heard: Sequence[tuple[Logits, str]], parameters: Parameters
) -> list[tuple[alignment.Word, bool]]:
    """Return each word that the decoder finds, and whether it is right, of (logits, transcript)."""
    texts = [(logits, _text(decoder, logits), transcript) for logits, transcript in heard]
    return confidence.judged(texts, parameters.alphabet)


def _some(items: Sequence[Item]) -> Sequence[Item]:
    return items[:: -(-len(items) // MOST_FOR_WEIGHTS)]


def _text(decoder: Decoder, logits: Logits) -> str:
    [text] = decoder.texts(logits[:, None], np.array([len(logits)], np.int32))
    return text


def make_model(items: Sequence[Item], order: int, path: Path) -> Path:
    """Estimate an n-gram model from the transcripts, write it as an ARPA file, and return its path."""
    arpa.write(
        path,
        ngram.estimate((clean(item.utterance.transcript).split() for item in items), order),
    )
    return path


def _weights(search: BeamSearch, network: Network, items: Sequence[Item], parameters: Parameters) -> Weights:
    """Set both weights of the search, and tune those that are not given."""
    alpha, beta = parameters.lm_alpha, parameters.lm_beta
    if alpha is not None and beta is not None:
        search.alpha, search.beta = alpha, beta
        return Weights(alpha, beta)
    known = list(_score(network, _some(items), parameters))
    alphas = weights.ALPHAS if alpha is None else (alpha,)
    return weights.choose(search, known, alphas, weights.BETAS if beta is None else (beta,))


def _score(network: Network, items: Sequence[Item], parameters: Parameters) -> Iterator[tuple[Logits, str]]:
    """Yield ([frames, labels] logits, transcript) of each utterance."""
    for item, logits in scored(network, items, parameters):
        yield logits, item.utterance.transcript


def scored(network: Network, items: Sequence[Item], parameters: Parameters) -> Iterator[tuple[Item, Logits]]:
    """Yield (item, [frames, labels] logits) of each utterance, the shortest first."""
    for group in batches_by_length(items, Most(parameters.dev_batch_size, parameters.max_seconds)):
        batch = assemble(group, parameters)
        _, logits = network.score(batch)
        for row, (item, length) in enumerate(zip(group, batch.lengths, strict=True)):
            yield item, logits[:length, row]
