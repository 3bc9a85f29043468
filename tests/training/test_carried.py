"""Streams that carry the state of a network with look-ahead, which was trained on tones."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_band import telephone
from test_transcribe import KINDS, RATE, background, listening, run, seconds_of_tones, speech
from tone_corpus import DISTURBANCES, disturbance, prepare_sets, tone_speech
from tone_network import TEXTS, learn_and_export

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import audio, batches, measure, threads
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.decoders import greedy
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters
from deepspeech_wer.training.sound import band, causal
from deepspeech_wer.training.transcribe import __main__ as transcribe
from deepspeech_wer.training.transcribe import carried, details, streaming, transcriber
from deepspeech_wer.training.transcribe.carried import CarriedStream
from deepspeech_wer.training.transcribe.recogniser import Recogniser
from deepspeech_wer.training.transcribe.streaming import Result

Trained = tuple[Path, Network, Parameters]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A directory with `exports` and `checkpoints` of a network that has learnt the tones, and that network."""
    place = tmp_path_factory.mktemp("carried")
    kept = {"ds_checkpoint_dir": str(place / "checkpoints"), "ds_lookahead": "10"}
    return place, *learn_and_export(place, "213", **kept)


@pytest.fixture(scope="module")
def model(trained: Trained) -> Path:
    return trained[0] / "exports" / "latest"


@pytest.fixture(scope="module")
def recogniser(model: Path) -> Recogniser:
    return Recogniser(model)


def results(recogniser: Recogniser, samples: Floats, size: int, every: int = carried.EVERY) -> list[Result]:
    """The results of a stream that comes in pieces of `size` samples."""
    stream = CarriedStream(recogniser, every=every)
    pieces = [samples[start : start + size] for start in range(0, len(samples), size)]
    return [*(one for piece in pieces for one in stream.feed(piece)), *stream.close()]


def test_files_have_the_texts_and_logits_of_the_network_in_training(trained: Trained, recogniser: Recogniser) -> None:
    place, network, parameters = trained
    for item in prepare_sets(parameters, place)["test"]:
        batch = batches.assemble([item], parameters)
        _, expected = network.score(batch)
        logits = recogniser.logits(audio.read_audio(item.utterance.audio))
        assert np.abs(logits - expected[: item.frames, 0]).max() < 1e-4
        assert [recogniser.greedy(logits)] == greedy(expected, batch.lengths, parameters.alphabet)


@pytest.mark.parametrize("size", [1, 333, 640, 7777, 100_000])
@pytest.mark.parametrize("every", [carried.EVERY, 1111])
def test_a_stream_has_the_logits_of_the_file(recogniser: Recogniser, size: int, every: int) -> None:
    samples = speech("a b", "c", pause=0.6)[: 2 * RATE if size == 1 else None]
    whole = recogniser.hear(samples)

    finals = [one for one in results(recogniser, samples, size, every) if one.final]

    assert "".join(one.text for one in finals).replace(" ", "") == whole.text.replace(" ", "")
    for one in finals:
        assert one.heard is not None
        first = round(one.start / streaming.FRAME)
        rows = np.searchsorted(whole.frames.places, one.heard.frames.places + first)
        assert np.abs(one.heard.logits - whole.logits[rows]).max() < 1e-5


def test_a_stream_has_the_times_of_the_file(recogniser: Recogniser) -> None:
    samples = speech("a b", "c", "b a", pause=0.75)  # three segments, but the network hears one utterance
    told = details.Details(recogniser, details.Wanted())

    finals = [one for one in results(recogniser, samples, 640) if one.final]

    assert len(finals) == 3
    words = [word for one in finals for word in told.of(one)["words"]]
    whole = replace(recogniser.hear(samples), text=" ".join(one["word"] for one in words))
    known = told.of(Result(final=True, start=0.0, end=0.0, text=whole.text, heard=whole))["words"]
    for name in "begin", "end":
        assert [one[name] for one in words] == pytest.approx([one[name] for one in known], abs=0.021)


@pytest.mark.parametrize("size", [1, 777, 3200, 50_000])
def test_results_do_not_depend_on_the_pieces_a_stream_comes_in(recogniser: Recogniser, size: int) -> None:
    samples = speech("c")[: 2 * RATE] if size == 1 else speech("a b", "c")

    assert results(recogniser, samples, size) == results(recogniser, samples, len(samples))


def test_each_utterance_of_a_stream_is_heard_as_if_alone(recogniser: Recogniser) -> None:
    alone = [speech("a b", pause=0), speech("c a", pause=0)]
    quiet = tone_speech("", 7, 0.8).astype(np.float32)  # 1.7 s

    finals = [one for one in results(recogniser, np.concatenate([alone[0], quiet, alone[1]]), 640) if one.final]

    assert [one.text for one in finals] == ["a b", "c a"]
    assert finals[0].end < (len(alone[0]) + 1.2 * RATE) / RATE
    assert finals[1].start > (len(alone[0]) + len(quiet)) / RATE - 0.3


def test_partial_results_come_when_the_text_changes_and_soon(recogniser: Recogniser) -> None:
    samples = np.concatenate([tone_speech("", 1, 0.2), tone_speech("a c b", 2, 0.5)]).astype(np.float32)
    stream, heard = CarriedStream(recogniser), []
    for start in range(0, len(samples), 160):
        heard += [((start + 160) / RATE, one) for one in stream.feed(samples[start : start + 160])]
    heard += [(len(samples) / RATE, one) for one in stream.close()]

    partial = [(time, one.text) for time, one in heard if not one.final]
    assert len({text for _, text in partial}) >= 3
    assert all(left != right for (_, left), (_, right) in pairwise(partial))
    assert [one.text for _, one in heard if one.final] == ["a c b"]
    begin = 0.5 + 0.5 + 0.1
    assert begin < partial[0][0] < begin + 0.5
    assert next(time for time, text in partial if text == "a c b") < begin + 0.6 + 0.5  # not at the pause


def test_the_work_for_a_piece_does_not_grow(recogniser: Recogniser) -> None:
    samples = tone_speech(" ".join("abc"[number % 3] for number in range(120))).astype(np.float32)  # 36 s
    stream = CarriedStream(recogniser)
    frames, longest, finals = [], 0, []
    plain = recogniser.run

    def counted(**inputs: Floats) -> list[Floats]:
        frames.append(inputs["features"].shape[1])
        return plain(**inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recogniser, "run", counted)
        for start in range(0, len(samples), 640):
            finals += [one for one in stream.feed(samples[start : start + 640]) if one.final]
            longest = max(longest, len(stream._labels))
        finals += stream.close()

    assert max(frames[1:]) <= 3 + 18  # each frame is heard once; the first may have waited for speech
    assert longest <= streaming.LONGEST / streaming.FRAME + 2
    words = " ".join(result.text for result in finals).split()
    assert len(words) == pytest.approx(120, abs=12)
    assert finals[-1].end == pytest.approx(len(samples) / RATE, abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.5, 6, 50])
def test_without_speech_there_is_no_text_on_any_way(recogniser: Recogniser, kind: str, seconds: float) -> None:
    samples = background(kind, seconds)
    blocks = iter(np.array_split(samples, -(-len(samples) // (10 * RATE))))

    assert transcriber.transcribe_blocks(blocks, recogniser, recogniser.greedy) == (len(samples), "")
    assert recogniser.text(samples) == ""
    assert results(recogniser, samples[: 8 * RATE], 640) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "after"), [(0, 25), (18, 0), (9, 12)])
def test_background_around_speech_adds_and_spoils_nothing(
    recogniser: Recogniser, kind: str, before: float, after: float
) -> None:
    samples = np.concatenate([background(kind, before) / 4, speech("b a c", pause=0), background(kind, after) / 4])
    blocks = iter(np.array_split(samples, 4))

    assert transcriber.transcribe_blocks(blocks, recogniser, recogniser.greedy)[1] == "b a c"
    assert [one.text for one in results(recogniser, samples, 6400) if one.final] == ["b a c"]


@pytest.mark.parametrize("kind", DISTURBANCES)
@pytest.mark.parametrize("features", causal.KNOWN)
def test_speech_within_a_disturbance_is_heard(model: Path, tmp_path: Path, kind: str, features: str) -> None:
    shutil.copytree(model, tmp_path / "export")
    description = tmp_path / "export" / "model.json"
    description.write_text(description.read_text().replace(causal.VERSION, features))
    spoken = speech("b a c", "c c a")

    found = results(Recogniser(tmp_path / "export"), spoken + disturbance(kind, len(spoken) / RATE), 640)

    assert [one.text for one in found if one.final] == ["b a c", "c c a"]


def test_an_offset_changes_no_text(recogniser: Recogniser) -> None:
    samples = speech("b a c", "c")
    texts = [[one.text for one in results(recogniser, samples + offset, 640)] for offset in (0, 3000)]
    assert texts[0] == texts[1]


def test_a_long_recording_is_transcribed_in_segments(recogniser: Recogniser) -> None:
    samples = speech(*TEXTS * 7)

    count, text = transcriber.transcribe_blocks(iter(np.array_split(samples, 9)), recogniser, recogniser.greedy)

    assert (count, text) == (len(samples), " ".join(TEXTS * 7))


def test_results_come_before_the_stream_ends(model: Path) -> None:
    with listening(model) as process:
        assert process.stdin and process.stdout
        process.stdin.write(speech("a b").astype("<i2").tobytes())
        process.stdin.flush()
        assert next(line for line in process.stdout if line.startswith(b"final")).endswith(b"\ta b\n")


def test_a_stream_has_times_of_its_words_with_a_hot_one(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = np.concatenate([tone_speech("a b", 1, 1.5), tone_speech("c", 2, 1.5)])
    options = transcriber.Options(model, details=details.Wanted(alternatives=1), hot_words={"c": 1.0})

    assert transcriber.transcribe_stream(options, io.BytesIO(samples.astype("<i2").tobytes())) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    finals = [line for line in lines if line["type"] == "final"]
    assert any(line["type"] == "partial" and "words" not in line for line in lines)
    assert all(len(line["alternatives"]) == 1 for line in finals)
    expected = seconds_of_tones("a b", 1.5) + seconds_of_tones("c", 3.0 + 0.1 + 0.6 + 1.5)
    words = [word for line in finals for word in line["words"]]
    for word, (text, begin, end) in zip(words, expected, strict=True):
        assert word["word"] == text
        assert word["begin"] == pytest.approx(begin, abs=0.15)
        assert word["end"] == pytest.approx(end, abs=0.3)
        assert 0 <= word["confidence"] <= 1


def test_a_file_has_times_of_its_words(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = np.concatenate([tone_speech("b a c", 1, 3.0), tone_speech("c c a", 2, 3.0)])  # with cut pauses
    soundfile.write(tmp_path / "long.wav", samples, RATE)

    assert transcribe.main([str(model), str(tmp_path / "long.wav"), "--json"]) == 0

    record = json.loads(capsys.readouterr().out)
    assert record["text"] == "b a c c c a"
    expected = seconds_of_tones("b a c", 3.0) + seconds_of_tones("c c a", 3.0 + 0.1 + 0.9 + 6.0)
    assert [word["begin"] for word in record["words"]] == pytest.approx([begin for _, begin, _ in expected], abs=0.15)
    ends = [word["end"] - end for word, (_, _, end) in zip(record["words"], expected, strict=True)]
    assert np.median(np.abs(ends)) <= 0.04


def test_final_results_are_decoded_with_the_language_model(model: Path, recogniser: Recogniser, tmp_path: Path) -> None:
    from deepspeech_wer.training.lm import arpa, ngram

    arpa.write(tmp_path / "b.arpa", ngram.estimate([["b", "b"], ["b"]] * 5, 2))
    options = transcriber.Options(model, str(tmp_path / "b.arpa"), alpha=20, beta=-3, beam_width=50)
    search = transcriber.search(recogniser, options)
    assert search is not None
    stream = CarriedStream(recogniser, search.text)

    finals = [one.text for one in [*stream.feed(speech("a b")), *stream.close()] if one.final]

    assert finals
    assert set(" ".join(finals).split()) <= {"b"}


def test_narrow_band_speech_is_told_once(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = telephone(speech("c a", "c", "a c"))
    assert transcriber.transcribe_stream(transcriber.Options(model), io.BytesIO(samples.astype("<i2").tobytes())) == 0
    assert capsys.readouterr().err.count(band.NARROW) == 1


def test_its_checkpoint_is_measured_like_its_export(
    trained: Trained, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "limit", lambda _: None)  # TensorFlow has been started
    table = str(trained[0] / "tones" / "dev.csv")
    told = []
    for place in (trained[0] / "checkpoints", model):
        assert measure.main([str(place), table]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"lookahead": 10', '"lookahead": 0', f"trained on features {causal.VERSION}"),
        (causal.VERSION, audio.VERSION, f"expected {causal.VERSION}"),
    ],
)
def test_an_export_that_describes_the_other_kind_is_refused(
    model: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    description = shutil.copytree(model, tmp_path / "copied") / "model.json"
    description.write_text(description.read_text().replace(old, new))
    with pytest.raises(Trouble, match=said):
        Recogniser(tmp_path / "copied")


def test_a_network_of_the_other_kind_is_refused(model: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(model, tmp_path / "copied")
    record = (copied / "model.json").read_text().replace('"lookahead": 10', '"lookahead": 0')
    (copied / "model.json").write_text(record.replace(causal.VERSION, audio.VERSION))

    done = run(copied, copied / "none.wav")

    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert b"has 2 inputs: expected those of a network with a look-ahead of 0" in done.stderr
