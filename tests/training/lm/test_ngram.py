"""The n-gram model: its estimate and its ARPA file, against sums done by hand, and against KenLM where that is."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from arpa_text import TRIGRAM_MODEL
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training.lm import arpa, ngram
from deepspeech_wer.training.lm.arpa import BEGIN, END, UNKNOWN


@pytest.fixture
def hand(tmp_path: Path) -> arpa.Ngrams:
    path = tmp_path / "hand.arpa"
    path.write_text(TRIGRAM_MODEL)
    return arpa.read(path)


def test_a_sentence_is_scored_as_by_hand(hand: arpa.Ngrams) -> None:
    # P(yes | <s>) is there; P(no | <s> yes) is there; P(</s> | yes no) backs off once: -0.75 - 0.375.
    assert hand.log10_sentence(["yes", "no"]) == -0.25 - 0.0625 - 1.125
    # P(no | <s>) backs off to no alone: -1 - 1.5; P(</s> | <s> no): no such history, no </s> is there: -0.375.
    assert hand.log10_sentence(["no"]) == -2.5 - 0.375
    # An unknown word: -1 - 3; after it nothing is known but </s> alone: -2.
    assert hand.log10_sentence(["never"]) == -4 - 2


def test_without_an_unk_an_unknown_word_is_nearly_impossible(tmp_path: Path) -> None:
    path = tmp_path / "closed.arpa"
    path.write_text(TRIGRAM_MODEL.replace("-3\t<unk>\n", "").replace("ngram 1=5", "ngram 1=4"))

    closed = arpa.read(path)

    assert closed.log10_probability((), "never") == arpa.MISSING
    assert closed.words() == ["yes", "no"]


def test_a_compressed_file_and_srilms_unk_are_read(hand: arpa.Ngrams, tmp_path: Path) -> None:
    path = tmp_path / "hand.arpa.gz"
    path.write_bytes(gzip.compress(TRIGRAM_MODEL.replace("<unk>", "<UNK>").encode()))

    assert arpa.read(path) == hand


def test_a_written_model_is_read_back(hand: arpa.Ngrams, tmp_path: Path) -> None:
    arpa.write(tmp_path / "again.arpa", hand)

    assert arpa.read(tmp_path / "again.arpa") == hand


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\\data\\", "", "no line"),
        ("ngram 2=3", "ngram 2=4", "3 2-grams: its header promises 4"),
        ("ngram 2=3", "ngram 3=3", "line 3"),
        ("-1.5\tno", "high\tno", "line 10"),
        ("-0.25\t<s> yes", "-0.25\tyes", "'-0.125' is none of its 1-grams"),
        ("-0.375\tno </s>", "-0.375\tno", "expected LOG10 2 words"),
        ("-0.25\t<s> yes", "-0.25\t<s> yes no", "expected LOG10 2 words"),
        ("\\3-grams:", "\\4-grams:", "expected \\3-grams:"),
        ("\\end\\", "", "ends before \\end\\"),
        ("-1.5\tno", "nan\tno", "line 10"),
    ],
)
def test_a_malformed_arpa_file_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "bad.arpa"
    path.write_text(TRIGRAM_MODEL.replace(old, new, 1))

    with pytest.raises(Trouble) as trouble:
        arpa.read(path)

    assert said in str(trouble.value) and str(path) in str(trouble.value)


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "cut.arpa.gz").write_bytes(gzip.compress(TRIGRAM_MODEL.encode())[:60])

    for name in ("none.arpa", "cut.arpa.gz"):
        with pytest.raises(Trouble, match="cannot be read as an ARPA language model"):
            arpa.read(tmp_path / name)


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    data = gzip.compress(TRIGRAM_MODEL.encode())
    (tmp_path / "bad.arpa.gz").write_bytes(data[:-8] + bytes([data[-8] ^ 1]) + data[-7:])
    with pytest.raises(Trouble, match="cannot be read as an ARPA language model"):
        arpa.read(tmp_path / "bad.arpa.gz")


def test_gz_in_a_name_means_compression_and_sentence_marks_are_not_words(tmp_path: Path) -> None:
    (tmp_path / "t.CSV").write_text("transcript\n<s> yes no </s>\nno <UNK>\n")
    assert ngram.main([str(tmp_path / "t.CSV"), str(tmp_path / "o.arpa.GZ")]) == 0
    assert arpa.read(tmp_path / "o.arpa.GZ").words() == ["no", "yes"]
    (tmp_path / "t.tsv").write_text("transcript\nyes\n")
    assert ngram.main([str(tmp_path / "t.tsv"), str(tmp_path / "o.arpa")]) == 1


def test_a_probability_rounded_above_one_is_one(tmp_path: Path) -> None:
    (tmp_path / "m.arpa").write_text(TRIGRAM_MODEL.replace("-2\t</s>", "0.0000001\t</s>"))
    assert arpa.read(tmp_path / "m.arpa").tables[0][("</s>",)] == (0, 0)


@pytest.mark.parametrize("number", ["0.5", "inf", "1e300", "nan"])
def test_an_invalid_log_probability_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "m.arpa").write_text(TRIGRAM_MODEL.replace("-2\t</s>", f"{number}\t</s>"))
    with pytest.raises(Trouble, match=r"m\.arpa, line 8"):
        arpa.read(tmp_path / "m.arpa")


WORDS = st.sampled_from("abcdef")
CORPUS = st.lists(st.lists(WORDS, max_size=8), min_size=1, max_size=30)


def test_misshapen_rows_of_a_table_are_left_out_as_in_a_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "train.csv"
    table.write_bytes(
        b"transcript,wav_filename,wav_filesize\ngo,0.wav,1\nhello big\nworld,1.wav,1\non,2.wav,1\n"
        b"caf\xe9,3.wav,1\nmr smith,he said,yes\nup,4.wav,1\n"
    )

    assert ngram.read_sentences(table) == [["go"], ["on"]]
    assert f"left out: 5 of 7 rows of {table}" in capsys.readouterr().err
    table.write_text("wav_filename;transcript\n0.wav;go, go\n")
    assert ngram.read_sentences(table) == [["go,", "go"]]
    (tmp_path / "clip").touch()
    table.write_text("wav_filename,transcript\nclip,go\n")
    assert ngram.read_sentences(table) == [["go"]]


@given(CORPUS, st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_every_distribution_sums_to_one(sentences: list[list[str]], order: int) -> None:
    model = ngram.estimate(sentences, order, vocabulary="g")
    following = [word for (word,) in model.tables[0] if word != BEGIN]
    histories = {gram for table in model.tables for gram in table if gram[-1] != END}

    assert set(following) >= {"g", END, UNKNOWN}
    for history in {(), ("g",), ("g", "a"), *histories}:
        total = sum(10 ** model.log10_probability(history, word) for word in following)
        assert total == pytest.approx(1, abs=1e-9), history


def test_kneser_ney_as_by_hand() -> None:
    # Bigrams of `a b` and `a`: <s> a twice, a b, b </s>, a </s> once: no count of 3 or 4, so the fall-back discounts.
    # Single words are counted by what is before them: a 1, b 1, </s> 2; each of <unk> a b </s> gets a 4th of what the
    # discounts 0.5, 0.5, 1 leave.
    model = ngram.estimate([["a", "b"], ["a"]], 2)
    alone = {"a": 0.5 / 4 + 2 / 4 / 4, END: 1 / 4 + 2 / 4 / 4, UNKNOWN: 2 / 4 / 4}
    after_a = {"b": 0.5 / 2 + 1 / 2 * alone["a"], UNKNOWN: 1 / 2 * alone[UNKNOWN]}

    for word, probability in alone.items():
        assert 10 ** model.log10_probability((), word) == pytest.approx(probability)
    for word, probability in after_a.items():
        assert 10 ** model.log10_probability(("a",), word) == pytest.approx(probability)
    assert 10 ** model.log10_probability((BEGIN,), "a") == pytest.approx(1 / 2 + 1 / 2 * alone["a"])


def test_the_discounts_of_chen_and_goodman() -> None:
    counts = {1: 8, 2: 4, 3: 2, 4: 1}
    table = ngram.Counter({(f"{count} {number}",): count for count, of in counts.items() for number in range(of)})

    assert ngram.discounts_of(table) == pytest.approx((1 - 1 * 4 / 8, 2 - 1.5 * 2 / 4, 3 - 2 * 1 / 2))


def test_the_command_estimates_a_model_from_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, target = tmp_path / "train.csv", tmp_path / "out.arpa"
    table.write_text("wav_filename,wav_filesize,transcript\n1.wav,1,yes  no\n2.wav,1,yes\n")

    assert ngram.main(["--order", "2", str(table), str(target)]) == 0

    assert arpa.read(target).words() == ["no", "yes"]
    assert "from 2 sentences" in capsys.readouterr().out


def test_the_command_estimates_a_model_from_a_text(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("yes no\n\nyes\n")

    assert ngram.read_sentences(tmp_path / "text") == [["yes", "no"], ["yes"]]


@pytest.mark.parametrize(
    ("text", "said"), [("a,b\n1,2\n", "no column transcript"), ("transcript\n", "holds no utterance")]
)
def test_the_command_refuses_a_table_without_transcripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (tmp_path / "t.csv").write_text(text)

    assert ngram.main([str(tmp_path / "t.csv"), str(tmp_path / "o.arpa")]) == 1

    assert said in capsys.readouterr().err
    assert not (tmp_path / "o.arpa").exists()


@given(CORPUS)
@settings(max_examples=20, deadline=None)
def test_kenlm_gives_the_same_scores(tmp_path_factory: pytest.TempPathFactory, sentences: list[list[str]]) -> None:
    kenlm = pytest.importorskip("kenlm", reason="kenlm, which has no wheels, is not installed")
    path = tmp_path_factory.mktemp("kenlm") / "model.arpa"
    arpa.write(path, ngram.estimate(sentences, 3))
    ours, theirs = arpa.read(path), kenlm.Model(str(path))

    for sentence in [*sentences, ["a", "z", "b"]]:
        assert ours.log10_sentence(sentence) == pytest.approx(theirs.score(" ".join(sentence)), abs=1e-4)
        assert math.isfinite(ours.log10_sentence(sentence))
