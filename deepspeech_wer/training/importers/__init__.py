"""Importers of corpora, one module each, selected by `ds_importer`.

To add one: write a module here with `load(parameters) -> Corpus`, and add its name to IMPORTERS, here and in
`parameters`. What importers share (download, unpacking, transcripts, speech synthesis) is in `tools`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...errors import UsageTrouble
from ..corpus import Corpus, Utterance
from ..parameters import FOLD, Parameters
from ..text import Alphabet
from . import an4, common_voice, csv_table, ldc93s1, librivox, synthetic, ted
from .tools.transcripts import folded

IMPORTERS: dict[str, Callable[[Parameters], Corpus]] = {
    "an4": an4.load,
    "common_voice": common_voice.load,
    "csv": csv_table.load,
    "ldc93s1": ldc93s1.load,
    "librivox": librivox.load,
    "synthetic": synthetic.load,
    "ted": ted.load,
}
WITH_TEST_SETS = ("csv", "librivox")


def load(parameters: Parameters) -> Corpus:
    """Load the corpus that `parameters.importer` names, each set cut to its limit. Raises Trouble.

    With ds_text=fold the transcripts are folded. Raises UsageTrouble for ds_test_sets where the importer has none, and
    for a ds_test_set that is none of the corpus'.
    """
    if parameters.test_sets and parameters.importer not in WITH_TEST_SETS:
        raise UsageTrouble(
            f"ds_test_sets={parameters.test_sets!r}: importer {parameters.importer} has one test set: expected "
            f"ds_importer {' or '.join(WITH_TEST_SETS)}, or no ds_test_sets"
        )
    corpus = IMPORTERS[parameters.importer](parameters).with_unique_ids()
    _require_test_set(corpus, parameters)
    corpus = corpus.limited(parameters.limit_train, parameters.limit_dev, parameters.limit_test)
    if parameters.text == FOLD:
        letters = parameters.alphabet
        return corpus.changed(lambda _, utterances: _folded(utterances, letters))
    return corpus


def _require_test_set(corpus: Corpus, parameters: Parameters) -> None:
    names = corpus.test_sets()
    if parameters.test_set and parameters.test_set not in names:
        raise UsageTrouble(f"ds_test_set={parameters.test_set!r}: expected one of {', '.join(names)}")


def _folded(utterances: tuple[Utterance, ...], alphabet: Alphabet) -> tuple[Utterance, ...]:
    return tuple(replace(one, transcript=folded(one.transcript, alphabet)) for one in utterances)
