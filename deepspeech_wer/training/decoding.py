"""The decoders that a run asks for, ready to use: language model found or made, its weights set or chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .batches import assemble, batches_by_length
from .corpus import file_sha256
from .dataset import Item
from .decoders import Decoder, Lengths, Logits, beam_decoder, greedy_decoder
from .lm import arpa, language, ngram, weights
from .lm.beam import BeamSearch
from .lm.weights import Weights
from .model import Network
from .parameters import BEAM, GREEDY, LM, Parameters
from .text import clean
from .transcribe.recogniser import LANGUAGE_MODEL

MOST_FOR_WEIGHTS = 200  # validation utterances: enough for two weights, and bounded for a large corpus


@dataclass(frozen=True)
class LmSearch:
    """A search with a language model, and what hyper.json records of the model."""

    search: BeamSearch
    signature: str
    settings: Mapping[str, object]
    path: Path


def prepare_search(parameters: Parameters, items: Sequence[Item], run_dir: Path) -> LmSearch | None:
    """What decoder lm searches with, its weights not yet set; None where nobody asks for that decoder.

    The model is the one in `ds_lm_path`, or is made of the transcripts of the training `items` as `lm.arpa` in
    `run_dir`. Raises Trouble for one that cannot be used: better before the training than after it.
    """
    if LM not in parameters.all_decoders:
        return None
    path = parameters.lm_path or make_model(items, parameters.lm_order, run_dir / LANGUAGE_MODEL)
    model, sha256 = language.load(path), file_sha256(path)
    search = BeamSearch(model, parameters.alphabet, alpha=1, beta=0, width=parameters.beam_width)
    # A model from elsewhere is part of the measure; one of the run's own transcripts is part of what is measured.
    whose = f"@{sha256[:8]}" if parameters.lm_path else ""
    return LmSearch(
        search,
        f"{LM}{model.order}{whose}-{BEAM}{parameters.beam_width}",
        {"lm_path": path.name, "lm_sha256": sha256, "lm_order": model.order, "lm_words": len(model.words())},
        path,
    )


def prepare_decoders(
    parameters: Parameters, words: LmSearch | None, network: Network, items: Sequence[Item]
) -> tuple[Decoder, ...]:
    """All decoders asked for; first the one of `ds_decoder`, which `test_wer` is of.

    Those weights of the language model that are not set are chosen on the validation `items`.
    """
    made = {
        GREEDY: lambda: greedy_decoder(parameters.alphabet),
        BEAM: lambda: beam_decoder(parameters.alphabet, parameters.beam_width),
    }
    if words is not None:
        made[LM] = lambda: _lm_decoder(parameters, words, network, items)
    return tuple(made[name]() for name in parameters.all_decoders)


def _lm_decoder(parameters: Parameters, words: LmSearch, network: Network, items: Sequence[Item]) -> Decoder:
    search = words.search
    weights = _weights(search, network, items, parameters)
    chosen = "" if weights.wer is None else f", with which the validation WER is {weights.wer:.2%}"
    print(f"{words.settings['lm_path']}: alpha {weights.alpha:g}, beta {weights.beta:g}{chosen}", flush=True)
    settings = {"lm_alpha": weights.alpha, "lm_beta": weights.beta, "lm_validation_wer": weights.wer}

    def texts(logits: Logits, lengths: Lengths) -> list[str]:
        return [search.text(logits[:length, row]) for row, length in enumerate(lengths)]

    return Decoder(LM, words.signature, texts, {**words.settings, **settings}, words.path)


def make_model(items: Sequence[Item], order: int, path: Path) -> Path:
    """Write the n-gram model of the transcripts as an ARPA file; return its path."""
    arpa.write(
        path,
        ngram.estimate((clean(item.utterance.transcript).split() for item in items), order),
    )
    return path


def _weights(search: BeamSearch, network: Network, items: Sequence[Item], parameters: Parameters) -> Weights:
    """Set both weights of the search; those that are not given are chosen."""
    alpha, beta = parameters.lm_alpha, parameters.lm_beta
    if alpha is not None and beta is not None:
        search.alpha, search.beta = alpha, beta
        return Weights(alpha, beta)
    every = -(-len(items) // MOST_FOR_WEIGHTS)
    heard = list(_hear(network, items[::every], parameters))
    alphas = weights.ALPHAS if alpha is None else (alpha,)
    return weights.choose(search, heard, alphas, weights.BETAS if beta is None else (beta,))


def _hear(network: Network, items: Sequence[Item], parameters: Parameters) -> Iterator[tuple[Logits, str]]:
    """([frames, labels] logits, transcript) of each utterance."""
    for group in batches_by_length(items, parameters.dev_batch_size):
        batch = assemble(group, parameters)
        _, logits = network.score(batch)
        for row, (item, length) in enumerate(zip(group, batch.lengths, strict=True)):
            yield logits[:length, row], item.utterance.transcript
