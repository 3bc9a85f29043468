"""Transcribing files and streams with an exported network that was trained on tones."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest
import soundfile
from test_band import telephone
from tone_corpus import DISTURBANCES, disturbance, tone_speech, write_corpus
from tone_network import TEXTS, learn_and_export

from deepspeech_wer.training import audio, containers, measure
from deepspeech_wer.training.lm import arpa, ngram
from deepspeech_wer.training.sound import band
from deepspeech_wer.training.transcribe import __main__ as transcribe
from deepspeech_wer.training.transcribe import details, streaming, transcriber
from deepspeech_wer.training.transcribe.recogniser import Recogniser
from deepspeech_wer.training.transcribe.streaming import StreamRecogniser

RATE = audio.SAMPLE_RATE
TIMEOUT = 60  # seconds that a command may take


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a network that has learnt the tones."""
    place = tmp_path_factory.mktemp("transcribe")
    learn_and_export(place, "123")
    return place / "exports" / "latest"


@pytest.fixture(scope="module")
def recogniser(model: Path) -> Recogniser:
    return Recogniser(model)


def speech(*texts: str, pause: float = 1.2) -> audio.Floats:
    """Utterances with pauses between them, as long as before the first and after the last."""
    parts = [tone_speech(text, number, pause / 2) for number, text in enumerate(texts)]
    silence = tone_speech("", len(texts), pause / 4)
    return np.concatenate([silence, *parts, silence]).astype(np.float32)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "deepspeech_wer.training.transcribe", *map(str, arguments)]


def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return subprocess.run(
        command(*arguments), **{"capture_output": True, "timeout": TIMEOUT, "check": False, **options}
    )


@contextmanager
def listening(model: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command with a stream as input, killed after TIMEOUT: its output then ends, and the test fails."""
    with subprocess.Popen(command(model, "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        timer = Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()


def test_files_of_any_format_become_lines(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tone_speech("b a c")
    fine = audio.resample(samples, RATE // 2)  # as if it had been recorded at 32 kHz
    soundfile.write(tmp_path / "1.wav", samples, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "2.flac", samples, RATE)
    soundfile.write(tmp_path / "3.wav", np.stack([fine, fine // 2], 1), 32_000, subtype="PCM_24")

    assert transcribe.main([str(model), *(str(tmp_path / name) for name in ("1.wav", "2.flac", "3.wav"))]) == 0

    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [Path(row[0]).name for row in rows] == ["1.wav", "2.flac", "3.wav"]
    for _, seconds, factor, text in rows:
        assert float(seconds) == pytest.approx(len(samples) / RATE, abs=0.01)
        assert float(factor) > 0
        assert text == "b a c"


def test_an_unreadable_file_does_not_stop_the_others(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "good.wav", tone_speech("a"), RATE)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.int16), RATE)
    (tmp_path / "text.wav").write_text("no audio")
    names = ["none.wav", "text.wav", "empty.wav", "samples.raw", "good.wav"]

    assert transcribe.main([str(model), *(str(tmp_path / name) for name in names)]) == 1

    said = capsys.readouterr()
    assert said.out.splitlines()[0].endswith("\ta")
    expected = ["No such file", "cannot be read as audio", "holds no sample", "without a header"]
    for line, name, words in zip(said.err.splitlines(), names, expected, strict=False):
        assert line.startswith(str(tmp_path / name))
        assert words in line
    assert len(said.err.splitlines()) == 4


def test_an_undecodable_name_is_printed_and_an_absurd_rate_is_refused(model: Path, tmp_path: Path) -> None:
    odd, fast = Path(os.fsdecode(bytes(tmp_path / "x") + b"\xff.flac")), tmp_path / "fast.wav"
    soundfile.write(os.fsencode(odd), tone_speech("a"), RATE)
    soundfile.write(fast, tone_speech("a"), RATE)
    data = bytearray(fast.read_bytes())
    data[24:28] = (2**31 - 1).to_bytes(4, "little")
    fast.write_bytes(data)

    done = run(model, fast, odd)

    assert done.returncode == 1
    assert done.stdout.endswith(b"\ta\n")
    assert b"x\\udcff.flac" in done.stdout
    assert b"2147483647 samples a second: expected 1000 to 1000000" in done.stderr


def test_a_full_disk_and_a_closed_input_are_reported(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone_speech("a"), RATE)
    with Path("/dev/full").open("wb") as full:
        done = run(model, tmp_path / "a.wav", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"the text cannot be written: No space left on device\n")
    shut = f"{shlex.join(command(model, '-'))} <&-"
    done = subprocess.run(["sh", "-c", shut], capture_output=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(b"-: standard input is closed\n")
    heard = shlex.join(command(model, tmp_path / "a.wav"))
    done = subprocess.run(["sh", "-c", f"{heard} >&-"], capture_output=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(b"standard output is closed: there is no place for the text\n")
    done = subprocess.run(["sh", "-c", f"{heard} 2>&-"], capture_output=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout.endswith(b"\ta\n")) == (0, True)


@pytest.mark.parametrize(
    ("target", "code", "said"), [("/dev/full", 1, "the text cannot be written: No "), (None, 0, "")]
)
def test_measuring_onto_a_full_disk_or_for_nobody_is_told_in_a_line(
    model: Path, tmp_path: Path, target: str | None, code: int, said: str
) -> None:
    corpus = write_corpus(tmp_path / "c", {"test": ["a b"]})
    measuring = [sys.executable, "-m", "deepspeech_wer.training.measure", model, corpus / "test.csv"]
    if target:
        output = os.open(target, os.O_WRONLY)
    else:
        reader, output = os.pipe()
        os.close(reader)

    done = subprocess.run(measuring, stdout=output, stderr=subprocess.PIPE, text=True, check=False)

    os.close(output)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == bool(said)


def test_measuring_tells_all_recordings_that_cannot_be_read_and_letters_that_cannot_be_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "c", {"test": ["a b"] * 14})
    table = corpus / "test.csv"
    table.write_text(table.read_text().replace("a b", "A, B!").replace(",A, B!", ',"A, B!"'))

    assert measure.main([str(model), str(table), "--fold"]) == 0
    assert capsys.readouterr().err == ""
    assert measure.main([str(model), str(table)]) == 0
    (doubt,) = capsys.readouterr().err.splitlines()
    assert "each of which is an error: 14, the first 'A, B!' (test/0.wav)" in doubt
    assert doubt.endswith(": --fold mends it")

    for number in range(1, 13):
        (corpus / "test" / f"{number}.wav").write_bytes(b"")
    assert measure.main([str(model), str(table), "--fold"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 11
    assert told[-1].startswith(f"{table}: 12 of 14 recordings cannot be used; the first: {corpus}/test/1.wav: is empty")


@pytest.mark.parametrize("given", [("--alpha", "nan"), ("--beta", "1000"), ("--alpha", "x"), ("--threads", "100000")])
def test_invalid_numbers_are_refused(model: Path, given: tuple[str, str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        transcribe.main([str(model), "a.wav", "--lm", "own", *given])


def test_it_starts_without_tensorflow(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone_speech("c a"), RATE)
    code = (
        "import sys; from deepspeech_wer.training.transcribe import __main__ as transcribe; early = set(sys.modules); "
        "code = transcribe.main(sys.argv[1:]); "
        "print(code, {'tensorflow', 'keras', 'kaldialign'} & set(sys.modules), 'numpy' in early)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, model, tmp_path / "a.wav"],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )

    assert done.stdout.splitlines()[0].endswith("\tc a")
    assert done.stdout.splitlines()[1] == "0 set() False"
    assert done.stderr == ""


def test_a_stream_gives_partial_results_and_a_final_one_at_each_pause(model: Path) -> None:
    stream = speech("a b", "b a c").astype("<i2").tobytes()

    done = run(model, "-", input=stream)

    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert [row[3] for row in rows if row[0] == "final"] == ["a b", "b a c"]
    ends = [float(row[2]) for row in rows if row[0] == "partial"]
    steps = np.diff(ends).round(2)
    assert len(ends) > 8
    assert set(steps) <= {0.2} | {step for step in steps if step >= streaming.PAUSE}  # 200 ms, but for the pauses
    assert [float(row[1]) for row in rows] == sorted(float(row[1]) for row in rows)
    assert done.stderr == b""


def test_results_come_before_the_stream_ends(model: Path) -> None:
    with listening(model) as process:
        assert process.stdin and process.stdout
        process.stdin.write(speech("a b").astype("<i2").tobytes())
        process.stdin.flush()
        assert next(line for line in process.stdout if line.startswith(b"final")).endswith(b"\ta b\n")

        process.stdin.write(tone_speech("c a").astype("<i2").tobytes())
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"partial")
        process.send_signal(signal.SIGINT)  # as from the keyboard: the last result is not lost

        assert process.stdout.read().splitlines()[-1].startswith(b"final")
        assert process.wait() == 0


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "AU", "NIST", "W64", "CAF", "FLAC", "OGG"])
def test_an_audio_file_as_a_stream_is_refused(model: Path, kind: str) -> None:
    recording = io.BytesIO()
    soundfile.write(recording, tone_speech("a"), RATE, format=kind)

    done = run(model, "-", input=recording.getvalue())

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"standard input is an audio file: expected raw samples")


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x20ftypM4A ", b"\x1aE\xdf\xa3\x9fB\x86", b"0&\xb2u\x8ef\xcf\x11", b"#!AMR\n"]
)
def test_a_file_of_a_phone_or_a_browser_as_a_stream_is_refused(model: Path, head: bytes) -> None:
    done = run(model, "-", input=head + bytes(20_000))

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"standard input is an audio file: expected raw samples")


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_an_mp3_without_a_tag_as_a_stream_is_refused_and_heard_as_a_file(
    model: Path, tmp_path: Path, rate: int
) -> None:
    sound = tmp_path / "a.mp3"
    soundfile.write(sound, np.tile(tone_speech("a"), rate // 8_000 + 1), rate)
    assert sound.read_bytes()[0] == 0xFF

    done = run(model, "-", input=sound.read_bytes())
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"give it as FILE, or /dev/stdin" in done.stderr

    expected = run(model, sound).stdout.split(b"\t")
    heard = run(model, "/dev/stdin", input=sound.read_bytes())
    assert heard.returncode == 0
    assert heard.stdout.split(b"\t")[1::2] == expected[1::2]


@pytest.mark.parametrize("head", [b"\xff\xf1\x60\x40", b"\xff\xf9\x50\x80"])
def test_aac_without_a_container_is_told_from_samples(head: bytes) -> None:
    frames = b"".join(head + bytes([size >> 3, (size & 7) << 5 | 31]) + bytes(size - 6) for size in (90, 255, 131))

    assert containers.is_file(frames)
    assert not containers.is_file(frames[:90])
    assert not containers.is_file(frames[:90] + b"\0" + frames[90:])
    assert not containers.is_file(head[:2] * 3200)  # a constant offset


def test_samples_that_begin_as_an_mp3_are_samples() -> None:
    head = b"\xff\xfb\x90\x00"
    for seed in range(200):
        noise = np.random.default_rng(seed).integers(-1100, 1100, 3200).astype("<i2").tobytes()
        assert not containers.is_mp3(head + noise)
    assert not containers.is_mp3(np.full(3200, -1025, "<i2").tobytes())  # a constant offset: ff fb ff fb
    assert not containers.is_mp3(head)


def test_a_pipe_that_holds_no_audio_is_told_by_its_own_name(model: Path, tmp_path: Path) -> None:
    done = run(model, "/dev/stdin", input=b"no audio")
    assert done.returncode == 1
    assert done.stderr.startswith(b"/dev/stdin: cannot be read as audio: ")
    assert b"ffmpeg -i /dev/stdin" in done.stderr
    assert str(tmp_path).encode() not in done.stderr
    assert b"/tmp" not in done.stderr


def test_text_is_utf_8_whatever_the_locale(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "model"
    shutil.copytree(model, other)
    description = json.loads((other / "model.json").read_text())
    description["alphabet"] = description["alphabet"].replace("a", "ş")
    (other / "model.json").write_text(json.dumps(description))
    soundfile.write(tmp_path / "x.wav", tone_speech("b a c"), RATE)
    for locale in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        for more in ((), ("--json",)):
            done = run(other, tmp_path / "x.wav", *more, env={**os.environ, **locale})
            assert "b ş c" in done.stdout.decode()


def test_it_ends_quietly_when_its_reader_leaves(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone_speech("a"), RATE)
    reading, writing = os.pipe()
    os.close(reading)

    done = run(model, *[tmp_path / "a.wav"] * 3, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("size", [1, 777, 3200, 50_000])
def test_results_do_not_depend_on_the_pieces_a_stream_comes_in(recogniser: Recogniser, size: int) -> None:
    samples = speech("c")[: 2 * RATE] if size == 1 else speech("a b", "c")
    whole = StreamRecogniser(recogniser)
    pieces = StreamRecogniser(recogniser)

    expected = [*whole.feed(samples), *whole.close()]
    found = [result for start in range(0, len(samples), size) for result in pieces.feed(samples[start : start + size])]

    assert [*found, *pieces.close()] == expected
    assert expected[-1].final


def background(kind: str, seconds: float) -> audio.Floats:
    """[samples] of a recording in which nobody speaks."""
    if kind in DISTURBANCES:
        return disturbance(kind, seconds)
    time = np.arange(round(seconds * RATE))
    rng = np.random.default_rng(0)
    return {
        "silence": np.zeros(len(time)),
        "noise": rng.normal(0, 300, len(time)),
        "hum": 2000 * np.sin(2 * np.pi * 50 * time / RATE),
        "hum and noise": 900 * np.sin(2 * np.pi * 100 * time / RATE) + rng.normal(0, 40, len(time)),
        "offset": np.full(len(time), 700.0),
        "dither that is muted at times": np.where(time % RATE < RATE // 2, rng.integers(-1, 2, len(time)), 0),
    }[kind].astype(np.float32)


KINDS = ("silence", "noise", "hum", "hum and noise", "offset", "dither that is muted at times", *DISTURBANCES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.5, 6, 35, 50])
def test_without_speech_there_is_no_text_on_any_way(recogniser: Recogniser, kind: str, seconds: float) -> None:
    samples = background(kind, seconds)
    blocks = iter(np.array_split(samples, -(-len(samples) // (10 * RATE))))
    listener = StreamRecogniser(recogniser)

    assert transcriber.transcribe_blocks(blocks, recogniser, recogniser.greedy) == (len(samples), "")
    assert recogniser.text(samples) == ""
    assert [*listener.feed(samples[: 8 * RATE]), *listener.close()] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "after"), [(0, 25), (18, 0), (9, 12)])
def test_background_around_speech_adds_and_spoils_nothing(
    recogniser: Recogniser, kind: str, before: float, after: float
) -> None:
    samples = np.concatenate([background(kind, before) / 4, speech("b a c", pause=0), background(kind, after) / 4])
    blocks = iter(np.array_split(samples, 4))

    assert transcriber.transcribe_blocks(blocks, recogniser, recogniser.greedy)[1] == "b a c"


@pytest.mark.parametrize("kind", DISTURBANCES)
@pytest.mark.parametrize("features", audio.KNOWN)
def test_speech_within_a_disturbance_is_heard_and_the_disturbance_is_not(
    model: Path, tmp_path: Path, kind: str, features: str
) -> None:
    shutil.copytree(model, tmp_path / "export")
    description = tmp_path / "export" / "model.json"
    description.write_text(description.read_text().replace(audio.VERSION, features))
    recogniser = Recogniser(tmp_path / "export")
    spoken = speech("b a c", "c c a")
    samples = spoken + disturbance(kind, len(spoken) / RATE)
    alone, both = StreamRecogniser(recogniser), StreamRecogniser(recogniser)

    assert not recogniser.is_spoken(disturbance(kind, 9))
    assert [*alone.feed(disturbance(kind, 9)), *alone.close()] == []
    if features != audio.WITH_OFFSET:
        assert recogniser.text(samples).replace(" ", "") == "baccca"  # it has learnt no pause between words
        assert [one.text for one in [*both.feed(samples), *both.close()] if one.final] == ["b a c", "c c a"]


def test_an_export_of_the_version_before_is_used_with_the_features_of_its_training(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "old")
    description = tmp_path / "old" / "model.json"
    description.write_text(description.read_text().replace(audio.VERSION, audio.WITH_OFFSET))
    shifted = speech("b a c") + np.float32(2000)

    new, old = Recogniser(model), Recogniser(tmp_path / "old")

    assert np.array_equal(old.mel(shifted), audio.log_mel(shifted, with_rumble=True))
    assert np.abs(new.mel(shifted) - new.mel(speech("b a c"))).max() < 1
    assert new.text(shifted) == new.text(speech("b a c"))
    assert old.text(speech("b a c")) == new.text(speech("b a c"))


def test_narrow_band_speech_is_told_once_for_files_and_streams(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = telephone(speech("c a", "c", "a c"))
    soundfile.write(tmp_path / "call.wav", samples.astype(np.int16), RATE)
    told = f"{band.NARROW}: expect more errors, unless the network has learnt from such speech"

    assert transcribe.main([str(model), str(tmp_path / "call.wav")]) == 0
    assert capsys.readouterr().err == f"{tmp_path / 'call.wav'}: {told}\n"
    options = transcriber.Options(model)
    assert transcriber.transcribe_stream(options, io.BytesIO(samples.astype("<i2").tobytes())) == 0
    assert capsys.readouterr().err == f"-: {told}\n"

    shutil.copytree(model, tmp_path / "both", symlinks=False)
    record = (tmp_path / "both" / "model.json").read_text()
    (tmp_path / "both" / "model.json").write_text(record.replace('"narrow_band": false', '"narrow_band": true'))
    assert transcribe.main([str(tmp_path / "both"), str(tmp_path / "call.wav")]) == 0
    assert capsys.readouterr().err == ""


def test_speech_is_recognised_above_steady_noise(recogniser: Recogniser) -> None:
    spoken = speech("c c c")
    samples = spoken + np.random.default_rng(0).normal(0, 1000, len(spoken)).astype(np.float32)
    listener = StreamRecogniser(recogniser)

    assert [*listener.feed(samples), *listener.close()] != []


def seconds_of_tones(text: str, lead: float) -> list[tuple[str, float, float]]:
    """When each word of tone_speech begins and ends, `lead` seconds after the beginning."""
    return [(word, lead + 0.1 + 0.3 * n, lead + 0.3 + 0.3 * n) for n, word in enumerate(text.split())]


def test_words_have_times_and_confidences(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = np.concatenate([tone_speech("b a c", 1, 3.0), tone_speech("c c a", 2, 3.0)])  # with cut pauses
    soundfile.write(tmp_path / "long.wav", samples, RATE)

    assert transcribe.main([str(model), str(tmp_path / "long.wav"), "--json", "--letters", "--alternatives", "2"]) == 0

    record = json.loads(capsys.readouterr().out)
    assert record["text"] == "b a c c c a"
    expected = seconds_of_tones("b a c", 3.0) + seconds_of_tones("c c a", 3.0 + 0.1 + 0.9 + 6.0)
    for word, (text, begin, end) in zip(record["words"], expected, strict=True):
        assert word["word"] == text
        assert word["begin"] == pytest.approx(begin, abs=0.1)
        assert word["end"] == pytest.approx(end, abs=0.3)
        assert 0 <= word["confidence"] <= 1
        assert [(one["letter"], one["begin"], one["end"]) for one in word["letters"]] == [
            (text, word["begin"], word["end"])
        ]
    # A network may see one word late; there is quiet beside the others.
    ends = [word["end"] - end for word, (_, _, end) in zip(record["words"], expected, strict=True)]
    assert np.median(np.abs(ends)) <= 0.04
    assert [segment["text"] for segment in record["segments"]] == ["b a c", "c c a"]
    for segment in record["segments"]:
        assert segment["text"] not in [one["text"] for one in segment["alternatives"]]
        assert len(segment["alternatives"]) == 2


def test_a_stream_has_times_of_its_words(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = np.concatenate([tone_speech("a b", 1, 1.5), tone_speech("c", 2, 1.5)])
    options = transcriber.Options(model, details=details.Wanted(), hot_words={"c": 1.0})

    assert transcriber.transcribe_stream(options, io.BytesIO(samples.astype("<i2").tobytes())) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    words = [word for line in lines if line["type"] == "final" for word in line["words"]]
    assert any(line["type"] == "partial" and "words" not in line for line in lines)
    expected = seconds_of_tones("a b", 1.5) + seconds_of_tones("c", 3.0 + 0.1 + 0.6 + 1.5)
    for word, (text, begin, _) in zip(words, expected, strict=True):
        assert word["word"] == text
        assert word["begin"] == pytest.approx(begin, abs=0.1)


def test_silence_has_no_words(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(RATE, np.int16), RATE)
    assert transcribe.main([str(model), str(tmp_path / "quiet.wav"), "--json", "--alternatives", "3"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["text"], record["words"]) == ("", [])


def test_a_hot_word_is_heard_without_a_language_model(model: Path, recogniser: Recogniser) -> None:
    samples = tone_speech("a b", 5).astype(np.float32)
    for boost in (0.0, 60.0):
        search = transcriber.search(recogniser, transcriber.Options(model, hot_words={"ab": boost}))
        assert search is not None
        assert ("ab" in search.text(recogniser.hear(samples).logits).split()) == (boost > 0)


def test_speech_without_a_pause_is_cut_and_memory_stays_bounded(recogniser: Recogniser) -> None:
    samples = tone_speech(" ".join("abc"[number % 3] for number in range(120))).astype(np.float32)  # 36 s
    listener = StreamRecogniser(recogniser)
    results, longest = [], 0
    for start in range(0, len(samples), streaming.EVERY):
        results += listener.feed(samples[start : start + streaming.EVERY])
        longest = max(longest, len(listener._samples))
    results += listener.close()

    finals = [result for result in results if result.final]
    assert longest <= streaming.LONGEST * RATE + streaming.EVERY
    assert len(finals) >= 3
    words = " ".join(result.text for result in finals).split()
    assert len(words) == pytest.approx(120, abs=12)
    assert finals[-1].end == pytest.approx(len(samples) / RATE, abs=0.1)


def test_a_long_recording_is_transcribed_in_segments(recogniser: Recogniser) -> None:
    samples = speech(*TEXTS * 7)

    count, text = transcriber.transcribe_blocks(iter(np.array_split(samples, 9)), recogniser, recogniser.greedy)

    assert count == len(samples)
    assert text == " ".join(TEXTS * 7)


def test_a_language_model_changes_the_text(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arpa.write(tmp_path / "b.arpa", ngram.estimate([["b", "b"], ["b"]] * 5, 2))
    soundfile.write(tmp_path / "a.wav", tone_speech("a b"), RATE)
    own = ["--lm", str(tmp_path / "b.arpa"), str(model), str(tmp_path / "a.wav")]

    assert transcribe.main([*own, "--alpha", "0"]) == 0
    assert transcribe.main([*own, "--alpha", "20", "--beta", "-3", "--beam-width", "50"]) == 0

    texts = [line.split("\t")[3] for line in capsys.readouterr().out.splitlines()]
    assert texts[0] == "a b"
    assert set(texts[1].split()) <= {"b"}


def test_the_language_model_that_was_exported_is_found(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(model, tmp_path / "copied")
    arpa.write(copied / "lm.arpa", ngram.estimate([["b", "b"], ["b"]] * 5, 2))
    soundfile.write(tmp_path / "a.wav", tone_speech("a b"), RATE)
    own = ["--lm", "own", "--alpha", "20", "--beta", "-3"]

    assert transcribe.main([*own, str(copied), str(tmp_path / "a.wav")]) == 0
    assert transcribe.main([*own, str(copied / "model.tflite"), str(tmp_path / "a.wav")]) == 0
    assert transcribe.main([*own, str(model), str(tmp_path / "a.wav")]) == 1

    said = capsys.readouterr()
    assert [set(line.split("\t")[3].split()) <= {"b"} for line in said.out.splitlines()] == [True, True]
    assert said.err.startswith(f"{model / 'lm.arpa'}: no language model was exported: the training made none")


def test_weights_come_from_the_export_unless_given(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.arpa"
    arpa.write(path, ngram.estimate([["b"]], 1))
    recogniser = Recogniser(model)
    object.__setattr__(
        recogniser.description, "language_model", transcriber.LanguageWeights("b.arpa", alpha=2, beta=3, beam_width=4)
    )

    chosen = transcriber.search(recogniser, transcriber.Options(model, str(path), beta=7))

    assert chosen is not None
    assert (chosen.alpha, chosen.beta, chosen.width) == (2, 7, 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-", "a.wav"], "cannot be read together"),
        (["--lm", "own", "--beam-width", "0", "-"], "'0': expected a whole number from 1 to 9999"),
        (["--alpha", "1", "-"], "need --lm"),
        (["--beam-width", "9", "-"], "needs --lm, --hot-word or --alternatives"),
        (["--letters", "-"], "need --json"),
        (["--alternatives", "2", "-"], "need --json"),
        (["--hot-word", "ada", "-"], "'ada': expected WORD=BOOST, such as ada=3"),
        (["--hot-word", "ada lovelace=3", "-"], "expected WORD=BOOST"),
        (["--hot-word", "ada=100", "-"], "'100': expected a number from -20 to 20"),
        ([], "required: FILE"),
    ],
)
def test_a_wrong_command_line_is_reported(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        transcribe.main(["model", *arguments])

    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_an_unusable_model_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe.main([str(tmp_path), "a.wav"]) == 1
    assert transcribe.main([str(tmp_path / "absent"), "a.wav"]) == 1

    broken, absent = capsys.readouterr().err.splitlines()
    assert broken.startswith(f"{tmp_path / 'model.json'}: is not a readable description")
    assert absent.startswith(f"{tmp_path / 'absent'}: does not exist")
