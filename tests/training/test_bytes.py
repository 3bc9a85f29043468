"""ds_alphabet=bytes: the network writes UTF-8, in any language."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tone_corpus import LEARNING, Job, random_texts, tone_speech, write_corpus

from deepspeech_wer import wer
from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import alignment, decoders, transfer
from deepspeech_wer.training.checkpoint import save
from deepspeech_wer.training.importers.tools.transcripts import folded, spoken
from deepspeech_wer.training.lm.beam import BeamSearch
from deepspeech_wer.training.lm.free import Free
from deepspeech_wer.training.parameters import from_environment
from deepspeech_wer.training.text import (
    BYTES,
    ENGLISH,
    REPLACED,
    Alphabet,
    Bytes,
    alphabet_of,
    clean,
    frames_needed,
    so_far,
)

OURS = Bytes()
SCRIPTS = (
    "今天 天气 很好",
    "नमस्ते दुनिया क्षि",
    "съешь ещё этих мягких булок",
    "🙂 👩‍👩‍👧 🇮🇸 1️⃣",
    "مرحبا بالعالم",
    "สวัสดีชาวโลก",
    "안녕하세요 세계",
    "don't, Ada! ĳ İı ß",
    "𝔘𐍈",
)


@pytest.mark.parametrize("text", SCRIPTS)
def test_every_script_comes_back_as_it_was(text: str) -> None:
    labels = OURS.encode(text)

    assert OURS.decode(labels) == clean(text)
    assert OURS.outside(text) == []
    assert bytes(label + 1 for label in labels) == clean(text).encode()
    assert max(labels) < OURS.blank == 255
    path = [label for one in labels for label in (one, one, OURS.blank)]
    assert OURS.decode_path(path) == clean(text)
    assert "".join(character for character, _ in OURS.spell(text)) == clean(text)


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_any_text_comes_back(text: str) -> None:
    assert OURS.decode(OURS.encode(text)) == clean(text)


@given(st.lists(st.integers(0, 254), max_size=40))
def test_any_labels_give_valid_text_without_control_characters(labels: list[int]) -> None:
    text = OURS.decode(labels)

    text.encode()
    assert not {unicodedata.category(one) for one in text} & {"Cc", "Cs"}
    assert OURS.encode(text) is not None


def test_incomplete_overlong_and_surrogate_sequences_are_replaced() -> None:
    for wrong in (b"\xe4\xb8", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\x1b", b"\xc2\x9b"):
        text = OURS.decode(byte - 1 for byte in b"a" + wrong + b"z")

        assert (text[0], text[-1]) == ("a", "z")
        assert set(text[1:-1]) == {REPLACED}


def test_control_characters_have_no_labels() -> None:
    assert OURS.outside("a\x00b\x1bc\x85d\te") == ["\x00", "\x1b"]  # the others are white space
    with pytest.raises(KeyError):
        OURS.encode("a\x1b")


def test_what_may_follow_is_what_utf_8_allows() -> None:
    for text in SCRIPTS:
        labels = OURS.encode(text)
        for place, label in enumerate(labels):
            assert OURS.continues(labels[max(0, place - 3) : place], label)
    lead, middle = 0xE4 - 1, 0xB8 - 1
    assert not OURS.continues([], middle)
    assert not OURS.continues([lead], ord("a") - 1)
    assert not OURS.continues([lead, middle], ord(" ") - 1)
    assert OURS.continues([lead, middle], middle)
    assert not OURS.continues([lead, middle, middle], middle)
    assert not OURS.continues([], 0x1B - 1)
    assert not OURS.continues([0xC2 - 1], 0x9B - 1)


def test_a_partial_text_ends_with_a_whole_character() -> None:
    raw = "é 中 🙂".encode()
    texts = [so_far(OURS.decode(byte - 1 for byte in raw[:count])) for count in range(len(raw) + 1)]

    assert texts == ["", "", "é", "é", "é", "é", "é 中", "é 中", "é 中", "é 中", "é 中", "é 中 🙂"]
    assert so_far("a \ufffd b") == "a \ufffd b"


def test_names_lead_back_to_the_alphabet(tmp_path: Path) -> None:
    assert (
        from_environment({"ds_alphabet": "bytes"}).alphabet == alphabet_of(BYTES) == alphabet_of(OURS.letters) == OURS
    )
    assert from_environment({"ds_alphabet": "bytes"}).n_character == 256
    assert alphabet_of(Alphabet(" ab").name) == Alphabet(" ab")
    assert Alphabet(OURS.letters) != OURS
    (tmp_path / "bytes").write_text(" \na\n")
    assert from_environment({"ds_alphabet": str(tmp_path / "bytes")}).alphabet == Alphabet(" a")


@pytest.mark.parametrize("seed", range(5))
def test_greedy_and_beam_write_valid_text_whatever_they_hear(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (30, 2, 256)).astype(np.float32)
    lengths = np.array([30, 21], np.int32)
    search = BeamSearch(Free(ENGLISH), OURS, alpha=0, beta=0, width=8)

    for text in decoders.greedy(logits, lengths, OURS) + decoders.beam(logits, lengths, OURS, 8):
        assert text.encode().decode() == text
        assert not {unicodedata.category(one) for one in text} & {"Cc", "Cs"}
    for one in search.candidates(logits[:, 0]):
        assert REPLACED not in one.text[:-1]  # no text in the beam may end with a whole character


def sure(text: str, runs: int = 2) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """[frames, 256] logits of a network that is sure of a text: each byte for so many frames, then a blank."""
    path = [label for one in OURS.encode(text) for label in (*[one] * runs, OURS.blank)]
    logits = np.zeros((len(path), 256), np.float32)
    logits[np.arange(len(path)), path] = 9
    return logits


class Words:
    """A language model of three words, of which the second is ten times as likely."""

    order = 1

    def words(self) -> list[str]:
        return ["हिन्दी", "हिन्दू", "中文"]

    def knows(self, word: str) -> bool:
        return word in self.words()

    def alone(self, word: str) -> float:
        return 0.0 if word == "हिन्दू" else -1.0

    def start(self) -> None:
        return None

    def score(self, context: None, word: str) -> tuple[float, None]:  # noqa: ARG002
        return (self.alone(word) if self.knows(word) else -99.0), None

    def finish(self, context: None) -> float:  # noqa: ARG002
        return 0.0


def test_a_language_model_of_words_decides_between_those_that_share_bytes() -> None:
    logits = (sure("中文 हिन्दी") + sure("中文 हिन्दू")) / 2  # the last byte is in doubt

    assert BeamSearch(Words(), OURS, alpha=1, beta=0, width=20).text(logits) == "中文 हिन्दू"
    hot = {"हिन्दी": 4.0}
    assert BeamSearch(Words(), OURS, alpha=1, beta=0, width=20, hot=hot).text(logits) == "中文 हिन्दी"
    with pytest.raises(Trouble, match=r"hot word 'a\\x1b': has .*: expected letters of the characters of Unicode"):
        BeamSearch(Words(), OURS, alpha=1, beta=0, width=20, hot={"a\x1b": 1.0})


def test_words_and_letters_have_times_and_scores() -> None:
    logits = sure("é中 🙂")  # 2 + 3 + 1 + 4 bytes, three frames each
    logits[5:8] /= 3  # the second byte of the first word's second letter is less certain
    found = alignment.words(logits, "é中 🙂", OURS)

    assert [one.word for one in found] == ["é中", "🙂"]
    assert [(one.letter, one.begin, one.end) for one in found[0].letters] == [("é", 0, 5), ("中", 6, 14)]
    assert [(one.letter, one.begin, one.end) for one in found[1].letters] == [("🙂", 18, 29)]
    assert found[0].letters[1].score < found[0].letters[0].score == pytest.approx(found[1].letters[0].score, abs=1e-3)
    assert alignment.words(logits[:4], "é中 🙂", OURS) == []
    for labels in ([0xE4 - 1] * 3, [0x80 - 1, 31, 0xFF - 1]):
        assert alignment.words(logits, OURS.decode(labels), OURS)  # what was replaced has times, too


def test_published_sentences_stay_and_folding_drops_punctuation() -> None:
    assert spoken(" «Привет»,  мир! ", OURS) == "«Привет», мир!"
    assert folded("«Привет», О\u00adн’… 今天。नि\u200dक", OURS) == "привет он' 今天 नि\u200dक"
    assert folded("IŞIK ılık İş", OURS) == "ışık ılık iş"


def test_a_network_of_letters_is_no_network_of_bytes(tmp_path: Path) -> None:
    settings = {"alphabet": {"letters": ENGLISH}, "normalisation": "each"}
    save(tmp_path, {"weights.h6": np.zeros((2, 29), np.float32)}, {"settings": settings, "history": []})
    given = from_environment({"ds_alphabet": "bytes", "ds_load_checkpoint_dir": str(tmp_path)})

    with pytest.raises(Trouble, match=r"its letters are . abc.*: expected the same, or ds_drop_source_layers=1"):
        transfer.take({}, given)


def test_a_job_learns_three_scripts_and_its_export_transcribes_them(tmp_path: Path) -> None:
    texts = random_texts(("中", "हि", "é🙂"), train=64, dev=6, test=8)
    corpus = write_corpus(tmp_path / "corpus", texts, pauses=(0, 0.4, 0.8))
    job = Job(tmp_path / "logs", corpus)
    exports = tmp_path / "exports"
    longest = max(frames_needed(OURS.encode(text)) for text in texts["train"])
    assert longest > 15  # up to six bytes a tone
    done = job.run(
        **{**LEARNING, "ds_epochs": "60"},
        ds_alphabet="bytes",
        ds_decoders="greedy,beam,lm",
        ds_export_dir=str(exports),
        ds_display_step="0",
        ds_validation_step="0",
    )

    assert done.returncode == 0, done.stderr
    record = job.record()
    assert record["parameters"]["alphabet"] == "bytes"
    assert record["parameters"]["n_hidden_6"] == 256
    for rates in record["results"]["decoders"].values():
        assert rates["wer"] < 0.2
    assert json.loads((exports / "latest" / "model.json").read_text())["alphabet"] == "bytes"

    files = [str(corpus / "test" / f"{number}.wav") for number in range(8)]
    expected = {row[0]: row[4] for row in job.record("utterances.json")["rows"]}

    def transcribed(*arguments: str, given: bytes = b"") -> str:
        command = [sys.executable, "-m", "deepspeech_wer.training.transcribe", str(exports / "latest"), *arguments]
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout.decode()

    plain = [line.split("\t")[3] for line in transcribed(*files).splitlines()]
    assert plain == list(expected.values())
    options = ("--json", "--letters", "--alternatives", "1", "--hot-word", "中=1")
    for more in ((), ("--lm", "own")):
        for line in transcribed(*options, *more, *files).splitlines():
            found = json.loads(line)
            assert [one["word"] for one in found["words"]] == found["text"].split()
            for word in found["words"]:
                assert "".join(one["letter"] for one in word["letters"]) == word["word"]
                assert 0 <= word["begin"] <= word["end"]
                assert 0 <= word["confidence"] <= 1
    said = ("中 हि", "é🙂")
    stream = b"".join(tone_speech(text, 1, pause=1.0).astype("<i2").tobytes() for text in said)
    lines = [line.split("\t") for line in transcribed("-", given=stream).splitlines()]
    assert {kind for kind, *_ in lines} == {"partial", "final"}
    heard = " ".join(text for kind, *_, text in lines if kind == "final")
    assert wer.score_utterance(" ".join(said), heard).errors <= 1
