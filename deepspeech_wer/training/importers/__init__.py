"""Where the speech comes from: one module per kind of corpus, found by the name in `ds_importer`.

The next one: a module here with `load(parameters) -> Corpus`, a line in IMPORTERS, and the name among the choices of
`Parameters.importer`. What importers share (download, unpacking, transcripts, speech synthesis) lies in `tools`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..corpus import Corpus
from ..parameters import Parameters
from . import an4, common_voice, csv_table, ldc93s1, librivox, synthetic, ted

IMPORTERS: dict[str, Callable[[Parameters], Corpus]] = {
    "an4": an4.load,
    "common_voice": common_voice.load,
    "csv": csv_table.load,
    "ldc93s1": ldc93s1.load,
    "librivox": librivox.load,
    "synthetic": synthetic.load,
    "ted": ted.load,
}


def load(parameters: Parameters) -> Corpus:
    """The three sets of the corpus that `parameters.importer` names, each cut to its limit."""
    corpus = IMPORTERS[parameters.importer](parameters).with_unique_ids()
    return corpus.limited(parameters.limit_train, parameters.limit_dev, parameters.limit_test)
