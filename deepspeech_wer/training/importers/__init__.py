"""Where the speech comes from: one function per kind of corpus, found by the name in `ds_importer`."""

from __future__ import annotations

from collections.abc import Callable

from ..corpus import Corpus
from ..parameters import Parameters
from . import csv_table, synthetic

IMPORTERS: dict[str, Callable[[Parameters], Corpus]] = {
    "csv": csv_table.load,
    "synthetic": synthetic.load,
}


def load(parameters: Parameters) -> Corpus:
    """The three sets of the corpus that `parameters.importer` names, each cut to its limit."""
    corpus = IMPORTERS[parameters.importer](parameters)
    return corpus.limited(parameters.limit_train, parameters.limit_dev, parameters.limit_test)
