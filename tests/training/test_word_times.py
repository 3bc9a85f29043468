"""The figure of five utterances: which they are, where their words are, and that it is drawn of whatever there is."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib import image
from tone_corpus import SMALL, prepare, prepare_sets, random_texts, write_corpus
from tone_network import learn_and_export

from deepspeech_wer.training import dataset, decoding, evaluate, word_times
from deepspeech_wer.training.confidence import Calibrations
from deepspeech_wer.training.corpus import Utterance
from deepspeech_wer.training.evaluate import Hypothesis
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.transcribe import __main__ as transcribe
from deepspeech_wer.training.word_times import Shown, Timed, Trained, WordTimes

PNG = b"\x89PNG\r\n\x1a\n"


def outcome(network: Network, parameters: Parameters, sets: dict[str, tuple[dataset.Item, ...]]) -> Trained:
    decoders = decoding.prepare_decoders(parameters, None, network, sets["dev"])
    test = evaluate.evaluate(network, sets["test"], 4, parameters, decoders)
    return Trained(network, parameters, test, sets["dev"], Calibrations())


def hypotheses(items: tuple[dataset.Item, ...], *frames: int) -> list[Hypothesis]:
    """One for each number of frames."""
    (item,) = items
    return [
        Hypothesis(
            replace(item, frames=count, seconds=count * 0.02, utterance=replace(item.utterance, id=str(n))), "", 0
        )
        for n, count in enumerate(frames)
    ]


@pytest.fixture
def items(tmp_path: Path) -> tuple[dataset.Item, ...]:
    soundfile.write(tmp_path / "one.wav", np.random.default_rng(0).normal(0, 1000, 16_000).astype(np.int16), 16_000)
    return prepare(tmp_path, Utterance("one", tmp_path / "one.wav", "a b"))


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (range(100, 110), [101, 103, 105, 107, 109]),
        ([900, *range(109, 99, -1), 1000], [101, 103, 105, 107, 109]),  # those above 8 s are no choice
        ([900, 100, 800, 700, 600, 500, 401], [100, 401, 500, 600, 700]),  # unless there are too few others
        ([3, 2, 1], [1, 2, 3]),
        ([], []),
    ],
)
def test_five_are_chosen_from_short_to_long(
    items: tuple[dataset.Item, ...], frames: list[int], expected: list[int]
) -> None:
    found = word_times.chosen(hypotheses(items, *frames))

    assert [one.item.frames for one in found] == expected
    assert word_times.chosen(hypotheses(items, *frames)[::-1])[:1] == found[:1] or len(frames) < 2


def test_the_words_are_where_transcribe_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, parameters = learn_and_export(tmp_path, "9876")
    sets = prepare_sets(parameters, tmp_path)
    without_export = replace(parameters, export_dir=None)  # the figure calibrates by itself
    (found,) = [one for one in word_times.shown(outcome(network, without_export, sets)) if one.transcript == "b a c"]
    capsys.readouterr()

    recording = sets["test"][2].utterance.audio
    assert transcribe.main([str(tmp_path / "exports" / "latest"), str(recording), "--json"]) == 0

    record = json.loads(capsys.readouterr().out)
    assert [one.word for one in found.recognised] == ["b", "a", "c"]
    assert found.missed == ()
    for drawn, word in zip(found.recognised, record["words"], strict=True):
        assert drawn.is_right
        assert (drawn.begin, drawn.end) == pytest.approx((word["begin"], word["end"]), abs=0.011)
        assert drawn.confidence == pytest.approx(word["confidence"], abs=0.01)
    assert len(found.mel) * 0.02 == pytest.approx(record["seconds"], abs=0.03)


def test_what_was_missed_is_shown_where_it_was_said(tmp_path: Path) -> None:
    texts = random_texts("abc", train=4, dev=2, test=3)
    parameters = from_environment({**SMALL, "ds_dataset_path": str(write_corpus(tmp_path / "tones", texts))})
    sets = prepare_sets(parameters, tmp_path)
    network = Network(parameters)  # untrained: it says something else, or nothing

    for one in word_times.shown(outcome(network, parameters, sets)):
        assert [word.word for word in one.missed] == one.transcript.split()
        assert not any(word.is_right for word in one.recognised)
        begins = [word.begin for word in one.missed]
        assert begins == sorted(begins)


@pytest.mark.parametrize("lookahead", ["0", "2"])
def test_a_test_set_of_one_utterance_without_speech_is_drawn(tmp_path: Path, lookahead: str) -> None:
    texts = {"train": ["a b"], "dev": ["c"], "test": ["a"]}
    corpus = write_corpus(tmp_path / "tones", texts)
    hum = np.random.default_rng(0).normal(0, 30, 16_000).astype(np.int16)
    soundfile.write(corpus / "test" / "0.wav", hum, 16_000)
    normalisation = "running" if lookahead != "0" else "each"
    parameters = from_environment(
        {
            **SMALL,
            "ds_dataset_path": str(corpus),
            "ds_lookahead": lookahead,
            "ds_normalisation": normalisation,
        }
    )
    sets = prepare_sets(parameters, tmp_path)

    figure = WordTimes(outcome(Network(parameters), parameters, sets))

    assert repr(figure).startswith("utterances: 1; ")
    assert (figure._repr_png_() or b"").startswith(PNG)


def test_wrong_words_have_another_colour_and_odd_letters_do_no_harm() -> None:
    mel = np.random.default_rng(0).normal(0, 1, (100, 27)).astype(np.float32)
    mel[:20] = -36  # digital silence
    right = Shown("a$b_{", "中 हि \\frac$ " * 60, mel, (Timed("中$", 0.5, 1.0, 0.9),), ())
    wrong = replace(right, recognised=(Timed("$\\x$", 0.5, 1.0, 0.9, is_right=False),), missed=(Timed("", 0.5, 0.5),))
    silent = replace(right, mel=np.full((5, 27), -36, np.float32), recognised=())

    first, second = (image.imread(io.BytesIO(word_times.png([one]))) for one in (right, wrong))

    assert blue(first) > 1000 > orange(first)
    assert orange(second) > 1000 > blue(second)
    assert word_times.png([right, wrong, silent]).startswith(PNG)
    assert word_times.png([]).startswith(PNG)


def blue(picture: np.ndarray) -> int:  # type: ignore[type-arg]
    return int((picture[..., 2] > picture[..., 0] + 0.2).sum())


def orange(picture: np.ndarray) -> int:  # type: ignore[type-arg]
    return int((picture[..., 0] > picture[..., 2] + 0.2).sum())
