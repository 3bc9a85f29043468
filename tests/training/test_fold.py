"""ds_text=fold: which transcripts become which, for which alphabet."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tone_corpus import noise_utterance, prepare

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training.importers.tools.transcripts import folded, spoken
from deepspeech_wer.training.text import Alphabet, Bytes

ENGLISH = Alphabet().letters
CURLY = " abcdefghijklmnopqrstuvwxyz’"
FRENCH = " abcdefghijklmnopqrstuvwxyzàâçéèêëîïôûùüœ'-"
HAWAIIAN = " aeiouhklmnpwʻāēīōū"
UZBEK = " abdefghijklmnopqrstuvxyz‘’"
TURKISH = " abcçdefgğhıijklmnoöprsştuüvyz"
TURKISH_CAPITALS = " ABCÇDEFGĞHIİJKLMNOÖPRSŞTUÜVYZ"
CAPITALS = " ABCDEFGHIJKLMNOPQRSTUVWXYZ'"
ARMENIAN = " " + "".join(map(chr, range(0x561, 0x588)))


@pytest.mark.parametrize(
    ("letters", "written", "expected"),
    [
        (ENGLISH, "ﬁnd oﬀ ﬂy eﬃcient ĳ ﬆ", "find off fly efficient ij st"),
        (ENGLISH, "ＨＥＬＬＯ　ｗｏｒｌｄ 𝐇𝐢 ℎ", "hello world hi h"),
        (ENGLISH + "ﬁ", "ﬁn ﬂy", "ﬁn fly"),
        (" カキガ", "ｶｷｶﾞ", "カキガ"),
        (ENGLISH, "a\u034fb\ufe0f c\x00d\u2060e\U000e0101f\u00ad", "ab cdef"),
        (ENGLISH, "a\u00a0b\u2007c\u202fd\u2800e\u3164f\u3000g\u2028h", "a b c d e f g h"),
        (ENGLISH, "minus − sign – a—b x˗y", "minus sign a b x y"),
        (FRENCH, "peut‑être peut−être — dit-il", "peut-être peut-être dit-il"),
        (ENGLISH, "50 ％", "50 ％"),  # read aloud, as % is: not dropped as punctuation
        (ENGLISH, "m² № ½", "m² № ½"),
    ],
)
def test_other_forms_of_a_letter_become_it(letters: str, written: str, expected: str) -> None:
    assert folded(written, Alphabet(letters)) == expected


@pytest.mark.parametrize(
    ("letters", "written", "expected"),
    [
        (ENGLISH, "'hello' ``hello'' `hello` ‚hello‘ ＇hello＇", "hello hello hello hello hello"),
        (ENGLISH, "he said 'go, don't wait'. 'Now.' ' ", "he said go don't wait now"),
        (ENGLISH, "'tis the dogs", "'tis the dogs"),
        (ENGLISH, "the dogs' tails, goin' on", "the dogs' tails goin' on"),
        (ENGLISH, "rock 'n' roll", "rock 'n' roll"),
        (ENGLISH, "don′t donʼt donʻt don＇t don´t donˈt dogs′", "don't don't don't don't don't don't dogs'"),
        (ENGLISH, "six′ 6′ 2″", "six' 6 2"),
        (CURLY, "don't 'hello' ‘hello’", "don’t hello hello"),
        (HAWAIIAN, "hawai‘i 'okina ʻaʻ", "hawaiʻi ʻokina ʻaʻ"),
        (UZBEK, "‘o‘zbek a’lo 'salom'", "‘o‘zbek a’lo salom"),
        (" abcos", "abc's o'b", "abcs ob"),
        (ARMENIAN, "ի՞նչ", "ինչ"),  # the mark stands within the word
    ],
)
def test_an_apostrophe_stays_and_a_quote_goes(letters: str, written: str, expected: str) -> None:
    assert folded(written, Alphabet(letters)) == expected


@pytest.mark.parametrize(
    ("letters", "written", "expected"),
    [
        (TURKISH, "İSTANBUL ISLAK", "istanbul ıslak"),
        (TURKISH_CAPITALS, "istanbul ılık", "İSTANBUL ILIK"),
        (ENGLISH, "İstanbul i\u0307", "istanbul i"),
        (CAPITALS, "straße", "STRASSE"),
        (CAPITALS + "ß", "straße", "STRAßE"),
        (CAPITALS + "ẞ", "straße", "STRAẞE"),
        (ENGLISH, "straße GROẞE", "strasse grosse"),
        (" αβγδεζηθικλμνξοπρσςτυφχψω", "ΟΔΟΣ ΣΟ", "οδος σο"),
        (ENGLISH + "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "Ada", "Ada"),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_case_is_that_of_the_alphabet(letters: str, written: str, expected: str, form: str) -> None:
    text = unicodedata.normalize("NFD", written) if form == "NFD" else written
    assert folded(text, Alphabet(letters)) == expected


def test_bytes_keep_what_is_a_letter_to_somebody() -> None:
    assert folded("ＡＢＣ ﬁn don′t ❤\ufe0f İyi x‑y −", Bytes()) == "abc fin don't ❤ iyi x y"
    assert folded("他说‘你好’。 ‘안녕’이라고 ‘สวัสดี’ครับ", Bytes()) == "他说你好 안녕이라고 สวัสดีครับ"
    kept = "ĳ ำ ㅋㅋ և ß hawaiʻi ᠮ\u180b नि\u200dक"
    assert folded(kept, Bytes()) == kept


TEXTS = st.text(st.sampled_from("aAiIİıßẞﬁｂ𝐜 '’‘ʼ`′-‑−.,%\u200b\ufe0f\u00a0éʻσΣ"), max_size=12)


@given(TEXTS, st.sampled_from([ENGLISH, CURLY, FRENCH, HAWAIIAN, TURKISH, CAPITALS, CAPITALS + "ß"]))
def test_a_letter_of_the_alphabet_never_becomes_another(text: str, letters: str) -> None:
    """Letters that the alphabet has are in the result, in their order."""
    alphabet = Alphabet(letters)
    kept = [one for one in unicodedata.normalize("NFC", text) if one.isalpha() and alphabet.has(one)]
    found = iter(folded(text, alphabet))
    assert all(one in found for one in kept)


def test_published_sentences_keep_their_letters_and_single_quotes() -> None:
    assert spoken("'Tis ﬁne, the dogs' Straße", Alphabet()) == "'tis ﬁne the dogs' straße"
    assert spoken(unicodedata.normalize("NFD", "İyi ISLAK"), Alphabet(TURKISH)) == "iyi ıslak"
    assert spoken("ի՞նչ", Alphabet(ARMENIAN)) == "ինչ"


@pytest.mark.parametrize(("transcript", "is_cured"), [("Don’t", True), ("ﬁne", True), ("Room 1", False), ("?", False)])
def test_a_strict_training_names_fold_where_it_helps(tmp_path: Path, transcript: str, is_cured: bool) -> None:
    with pytest.raises(Trouble) as caught:
        prepare(tmp_path, noise_utterance(tmp_path, "one", transcript))

    assert ("set ds_text=fold" in str(caught.value)) is is_cured
