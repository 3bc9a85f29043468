"""What is kept of utterances gives them back, and nothing that is damaged is taken for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_wer import wer
from deepspeech_wer.verdicts import edits, recorded, utterance_scores
from deepspeech_wer.verdicts.utterance_file import Utterance
from tests.verdicts.test_utterance_scores import rows, scored

# str.split() takes more than the space for white space, and a word may be of any other characters
TEXT = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), max_size=6).map(" ".join)


@given(TEXT, TEXT)
@settings(deadline=None)
def test_the_edits_give_back_hypothesis_and_alignment(said: str, heard: str) -> None:
    aligned = wer.align(wer.words(said), wer.words(heard))
    text = edits.encode(aligned.pairs)

    assert tuple(edits.align(" ".join(wer.words(said)), text)) == aligned.pairs
    assert [word for _, word in edits.align(" ".join(wer.words(said)), text) if word] == wer.words(heard)
    assert edits.count(text) == len(edits.decode(text)) == aligned.counts.errors


@pytest.mark.parametrize("text", ["0", "0 a", "x a b", "0 b a", "9 a b", "0 a  0 b ", "-1  x"])
def test_edits_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        edits.align("a b", text)


def both(one: utterance_scores.Scored) -> tuple[Any, Any]:
    said = recorded.said(one)
    return json.loads(json.dumps(said.record)), json.loads(json.dumps(recorded.of_run(one, said.name)))


def test_a_run_is_read_back() -> None:
    one = utterance_scores.score("test", rows(("a b", "a"), ("c", None), ("d", "e d"), names="yxy"))
    found = recorded.read(*both(one))

    assert found is not None
    assert (found.each, found.edits, found.missing) == (one.each, ("1 b ", "0 c ", "0  e"), (1,))


def test_a_test_set_has_one_name_whoever_heard_it() -> None:
    one, other = scored(30, seed=1), scored(30, seed=2)

    assert recorded.said(one).name == recorded.said(other).name
    assert recorded.said(scored(29, seed=1)).name != recorded.said(one).name
    without = utterance_scores.score("test", [Utterance(r.id, None, r.seconds, r.reference, "") for r in one.rows])
    assert recorded.said(without).name != recorded.said(one).name
    assert without.each.test_set == one.each.test_set


@pytest.mark.parametrize("limit", ["PART_UTTERANCES", "PART_CHARACTERS"])
def test_the_texts_come_in_parts(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(recorded, limit, 7)
    said = recorded.said(scored(20, seed=1))

    assert said.record["parts"][:2] in ([0, 7], [0, 1])
    assert len(said.record["parts"]) == len(said.parts)
    assert [text for part in said.parts for text in part] == [one.reference for one in scored(20, seed=1).rows]


DAMAGE = [None, 7, -3, {}, [None, None], [1.5, 2], ["x"], [-2, 0], [0, 9], [True, 1]]


@pytest.mark.parametrize("key", ["version", "test_set", "ids", "names", "speakers", "words"])
@pytest.mark.parametrize("value", DAMAGE)
def test_a_damaged_test_set_is_not_taken(key: str, value: Any) -> None:
    of_set, of_run = both(utterance_scores.score("test", rows(("a b", "a"), ("b", "b"), names="xy")))

    found = recorded.read(of_set | {key: value}, of_run)

    assert found is None or (key, value) in [("words", [0, 9]), ("words", [-2, 0])]


@pytest.mark.parametrize("key", ["edits", "missing"])
@pytest.mark.parametrize("value", DAMAGE)
def test_damaged_errors_are_not_taken(key: str, value: Any) -> None:
    of_set, of_run = both(utterance_scores.score("test", rows(("a b", "a"), ("b", "b"), names="xy")))

    assert recorded.read(of_set, of_run | {key: value}) is None


@pytest.mark.parametrize("record", [None, 1, [], "x", {}, {"version": 1}])
def test_no_record_is_a_traceback(record: Any) -> None:
    of_set, of_run = both(utterance_scores.score("test", rows(("a", "a"))))

    assert recorded.read(record, of_run) is None
    assert recorded.read(of_set, record) is None
