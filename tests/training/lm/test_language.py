"""Language models from files: which kind it is, and KenLM's own."""

from __future__ import annotations

import base64
import sys
import zlib
from pathlib import Path

import pytest
from arpa_text import BIGRAM_MODEL

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training.lm import arpa, language

# What KenLM's `build_binary -s trie` makes of ARPA, packed.
BINARY = (
    "c-qU&O)OBz$yLZGDJihh*U!#KO-##7%}LQq&d=3P&QD2INXswEO)OC;OD!tS%+FIW<zhg9274f}pAks>2Lg}?BUFY7Odhajf{KAK"
    "D^!jd$pjWCT~MdE*RrjY;cZdQpU~wKEx2;Nf2=Kjko{+=(QMV5##<0N91egiM(~dv0&@2wxe3HZ;xmBNGa|S^xrTjA45)ya0XqQd"
    "`y$A|a6=uaNgi3krZg|xj=`qbj-fKOn88LL$jHlQ008xcJP!"
)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "model.binary"
    path.write_bytes(zlib.decompress(base64.b85decode(BINARY)))
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "model.arpa"
    path.write_text(BIGRAM_MODEL)
    return path


def test_an_arpa_file_is_recognised_by_its_content(text: Path) -> None:
    assert language.load(text) == arpa.read(text)


def test_kenlms_file_scores_as_the_arpa_file_does(binary: Path, text: Path) -> None:
    pytest.importorskip("kenlm", reason="kenlm, which has no wheels, is not installed")
    models = [language.load(text), language.load(binary)]

    assert models[1].order == 2
    assert sorted(models[1].words()) == ["no", "yes"]
    assert [model.knows("<unk>") for model in models] == [True, True]
    assert [model.knows("never") for model in models] == [False, False]
    for words in ([], ["yes", "no"], ["no", "never", "yes"]):
        totals = []
        for model in models:
            total, context = 0.0, model.start()
            for word in words:
                score, context = model.score(context, word)
                total += score
            totals.append(total + model.finish(context) + model.alone("yes"))
        assert totals[0] == pytest.approx(totals[1], abs=1e-5)


def test_the_vocabulary_of_a_kenlm_file_is_read(binary: Path) -> None:
    assert sorted(language.kenlm_words(binary)) == ["no", "yes"]


def test_kenlms_file_without_words_is_refused(binary: Path) -> None:
    data = binary.read_bytes()
    binary.write_bytes(data[: data.rindex(b"<unk>")])

    with pytest.raises(Trouble, match="contains no vocabulary"):
        language.kenlm_words(binary)


def test_without_kenlm_its_file_is_refused_with_the_cure(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)

    with pytest.raises(Trouble, match=r"pip install deepspeech-wer\[kenlm\]"):
        language.load(binary)


def test_a_truncated_kenlm_file_is_refused(binary: Path) -> None:
    pytest.importorskip("kenlm", reason="kenlm, which has no wheels, is not installed")
    binary.write_bytes(binary.read_bytes()[:100])

    with pytest.raises(Trouble, match="KenLM cannot read it"):
        language.load(binary)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="cannot be read as a language model"):
        language.load(tmp_path / "none")
