"""Checks and features of utterances."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
import soundfile
from tone_corpus import DISTURBANCES, disturbance, noise_utterance, prepare

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import audio, dataset
from deepspeech_wer.training.corpus import Segment, Utterance
from deepspeech_wer.training.text import Alphabet


def test_an_item_knows_its_frames_seconds_and_labels(tmp_path: Path) -> None:
    (item,) = prepare(tmp_path, noise_utterance(tmp_path, "one", "go on"))

    assert item.frames == audio.frame_count(16_000)
    assert item.seconds == pytest.approx(1, abs=0.03)
    assert Alphabet().decode(item.labels.tolist()) == "go on"


def test_features_are_computed_once_for_each_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = noise_utterance(tmp_path, "one", "go")
    prepare(tmp_path, one)
    monkeypatch.setattr(audio, "read_audio", lambda path, **_: pytest.fail(f"{path} is read again"))

    prepare(tmp_path, one)

    one.audio.write_bytes(one.audio.read_bytes() + b"other")
    with pytest.raises(pytest.fail.Exception, match="read again"):
        prepare(tmp_path, one)


@pytest.mark.parametrize(
    ("transcript", "said"),
    [
        ("room 101", r"utterance one \(.*one\.wav\): '0' '1' in its transcript 'room 101': expected only"),
        ("a" * 40, r"utterance one \(.*one\.wav\): .* needs 79 frames of 20 ms, the audio has 50"),
        ("  ", r"utterance one \(.*one\.wav\): its transcript '  ' needs 0 frames"),
    ],
)
def test_an_unlearnable_utterance_is_named_before_training(tmp_path: Path, transcript: str, said: str) -> None:
    with pytest.raises(Trouble, match=said):
        prepare(tmp_path, noise_utterance(tmp_path, "one", transcript))


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"RIFF"), lambda path: path.unlink()])
def test_audio_that_cannot_be_read_is_named_with_its_utterance(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    said = replace(noise_utterance(tmp_path, "one", "go"), id="talk-7")
    spoil(said.audio)

    with pytest.raises(Trouble, match=r"utterance talk-7 \(.*one\.wav\): .*one\.wav"):
        prepare(tmp_path, said)


def test_all_unlearnable_utterances_are_told_at_once(tmp_path: Path) -> None:
    said = [
        noise_utterance(tmp_path, f"u{number}", "go" if number % 2 else f"no {number}", 0.3) for number in range(30)
    ]

    with pytest.raises(Trouble) as caught:
        prepare(tmp_path, *said)

    told = str(caught.value).splitlines()
    assert [line.split(" ")[1] for line in told[:10]] == [f"u{number}" for number in range(0, 20, 2)]
    assert told[10].startswith("15 of 30 utterances cannot be learnt; the first: utterance u0 (")
    assert len(told) == 11


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44_100, 2), (48_000, 1), (16_000, 2)])
def test_recordings_of_other_rates_and_stereo_are_converted_on_demand(
    tmp_path: Path, rate: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone = 8000 * np.sin(2 * np.pi * 700 * np.arange(rate) / rate) * np.hanning(rate)
    soundfile.write(tmp_path / "a.wav", np.repeat(tone.astype(np.int16)[:, None], channels, 1), rate)
    soundfile.write(tmp_path / "b.wav", audio.resample(tone.astype(np.int16), rate), 16_000)
    one, plain = (Utterance(name, tmp_path / f"{name}.wav", "go") for name in ("a", "b"))

    (item,) = dataset.prepare([one], Alphabet(), tmp_path / "cache", resample=True)

    (expected,) = prepare(tmp_path, plain)
    assert np.abs(np.load(item.mel) - np.load(expected.mel)).max() < 0.01
    with pytest.raises(Trouble, match=rf"{rate} Hz, {channels} channels: .*or set ds_resample=1"):
        prepare(tmp_path, one)
    monkeypatch.setattr(audio, "read_audio", lambda path, **_: pytest.fail(f"{path} is converted again"))
    assert dataset.prepare([one], Alphabet(), tmp_path / "cache", resample=True) is not None


def test_an_utterance_longer_than_a_batch_may_be_is_named(tmp_path: Path) -> None:
    short, long = (noise_utterance(tmp_path, name, "go", seconds) for name, seconds in (("short", 0.5), ("long", 2.0)))

    with pytest.raises(Trouble, match=r"utterance long .*: 2.0 s of speech: expected at most 1.5 s: cut it, leave it"):
        dataset.prepare([short, long], Alphabet(), tmp_path / "cache", most_seconds=1.5)
    assert len(dataset.prepare([short, long], Alphabet(), tmp_path / "cache", most_seconds=2.0)) == 2
    kept = dataset.prepare([short, long], Alphabet(), tmp_path / "cache", most_seconds=1.5, tolerant=True)
    assert [item.utterance for item in kept] == [short]


def test_a_recording_of_digital_silence_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "muted.wav", np.zeros(16_000, np.int16), 16_000)

    with pytest.raises(Trouble, match=r"utterance one \(.*\): .*muted\.wav: holds digital silence: expected speech"):
        prepare(tmp_path, Utterance("one", tmp_path / "muted.wav", "go"))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("kind", DISTURBANCES)
def test_what_a_sound_card_adds_is_nobody_who_speaks(tmp_path: Path, kind: str, is_causal: bool) -> None:
    hiss = np.random.default_rng(0).normal(0, 2, 3 * 16_000)
    soundfile.write(tmp_path / "a.wav", (disturbance(kind, 3) + hiss).astype(np.int16), 16_000)
    said = Utterance("one", tmp_path / "a.wav", "go")

    (item,) = dataset.prepare([said], Alphabet(), tmp_path / "cache", is_causal=is_causal)

    assert not dataset.is_spoken(item)


def test_background_around_an_utterance_is_not_learnt(tmp_path: Path) -> None:
    one = noise_utterance(tmp_path, "one", "go")
    samples, _ = soundfile.read(one.audio, dtype="int16")
    room = np.random.default_rng(2).normal(0, 20, 4 * 16_000).astype(np.int16)
    soundfile.write(tmp_path / "long.wav", np.concatenate([room, samples, room]), 16_000)

    (item,) = prepare(tmp_path, replace(one, audio=tmp_path / "long.wav"))

    assert item.seconds == pytest.approx(1 + 2 * audio.KEPT_QUIET, abs=0.1)


def test_a_tolerant_set_leaves_out_and_counts_unlearnable_utterances(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [noise_utterance(tmp_path, f"u{number}", "go", 0.3) for number in range(39)]
    bad = noise_utterance(tmp_path, "bad", "naïve")

    items = dataset.prepare([*good, bad], Alphabet(), tmp_path / "cache", tolerant=True)

    assert [item.utterance for item in items] == good
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("in doubt: ")]  # it is noise
    assert lines[0].startswith("left out: utterance bad (")
    prepared = dataset.prepare([*good, bad, replace(bad, id="bad2")], Alphabet(), tmp_path / "cache", tolerant=True)
    assert len(prepared) == 39
    assert capsys.readouterr().err.splitlines()[-1] == "left out: 2 of 41 utterances"
    with pytest.raises(Trouble, match=r"3 utterances cannot be learnt, more than 1 in 20; the last: utterance bad \("):
        dataset.prepare([*good, bad, bad, bad], Alphabet(), tmp_path / "cache", tolerant=True)
    with pytest.raises(Trouble, match="no utterance of the set"):
        dataset.prepare([bad], Alphabet(), tmp_path / "cache", tolerant=True)


def test_a_segment_has_the_features_of_its_part_of_the_recording(tmp_path: Path) -> None:
    whole = noise_utterance(tmp_path, "talk", "go", 3)
    samples, _ = soundfile.read(whole.audio, dtype="int16")
    soundfile.write(tmp_path / "part.wav", samples[8000:24_000], 16_000)

    first, second, part = prepare(
        tmp_path,
        replace(whole, segment=Segment(0.5, 1.5)),
        replace(whole, segment=Segment(1.5, 2.75)),
        Utterance("part", tmp_path / "part.wav", "go"),
    )

    assert np.array_equal(np.load(first.mel), np.load(part.mel))
    assert (first.seconds, second.seconds) == (pytest.approx(1, abs=0.03), pytest.approx(1.25, abs=0.03))
    with pytest.raises(Trouble, match=r"talk\.wav: holds no sample between 3 and 4 s"):
        prepare(tmp_path, replace(whole, segment=Segment(3, 4)))
    prepare(tmp_path, replace(whole, segment=Segment(2, 3.4)))  # rounded
    with pytest.raises(Trouble, match=r"talk\.wav: ends 0\.7 s before its segment from 2 to 3\.7 s does: is it cut\?"):
        prepare(tmp_path, replace(whole, segment=Segment(2, 3.7)))


@pytest.mark.parametrize("left", [0, 7, 90, 1000])
def test_truncated_features_in_the_cache_are_computed_again(tmp_path: Path, left: int) -> None:
    one = noise_utterance(tmp_path, "one", "go")
    (item,) = prepare(tmp_path, one)
    whole = item.mel.read_bytes()
    item.mel.write_bytes(whole[:left])

    (again,) = prepare(tmp_path, one)

    assert again == replace(item, labels=again.labels)
    assert item.mel.read_bytes() == whole
    assert [path for path in (tmp_path / "cache").rglob("*") if path.suffix == ".npy"] == [item.mel]


def test_concurrent_trainings_share_a_cache_with_a_killed_one(tmp_path: Path) -> None:
    for number in range(30):
        noise_utterance(tmp_path, "x" * (number + 1), "go", 0.3)  # each with a sound of its own
    code = """
import sys
from pathlib import Path
from deepspeech_wer.training import batches, dataset
from deepspeech_wer.training.corpus import Utterance
from deepspeech_wer.training.text import Alphabet
said = [Utterance(path.stem, path, "go") for path in sorted(Path(sys.argv[1]).glob("*.wav"))]
print("ready", flush=True)
sys.stdin.readline()
print(dataset.set_sha256(dataset.prepare(said, Alphabet(), Path(sys.argv[1], "cache"))))
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdin=PIPE, stdout=PIPE, text=True) for _ in range(3)
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    killed, *others = started
    assert killed.stdin is not None
    killed.stdin.write("go\n")
    killed.stdin.flush()
    deadline = time.monotonic() + 60
    while killed.poll() is None and not list(tmp_path.rglob("*.npy")):
        assert time.monotonic() < deadline
    killed.kill()
    hashes = [one.communicate("go\n", timeout=120)[0] for one in others]
    killed.communicate()

    assert len(set(hashes)) == 1
    assert [one.returncode for one in others] == [0, 0]
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 30


def test_an_unwritable_cache_is_not_blamed_on_the_utterance(tmp_path: Path) -> None:
    one = noise_utterance(tmp_path, "one", "go")
    mel = prepare(tmp_path, one)[0].mel
    beside = mel.with_name(f"{mel.name}.{os.getpid()}").relative_to(tmp_path / "cache")
    (tmp_path / "other" / beside).mkdir(parents=True)  # in the way of what is written there first

    with pytest.raises(Trouble, match=r"\.npy: cannot be written: .*: free space, or set ds_cache_dir"):
        dataset.prepare([one], Alphabet(), tmp_path / "other", tolerant=True)


def a_file_in_the_way(mel: Path) -> None:
    mel.unlink()
    mel.parent.rmdir()
    mel.parent.write_text("")


def a_directory_in_the_way(mel: Path) -> None:
    mel.unlink()
    mel.mkdir()


def a_link_to_itself(mel: Path) -> None:
    mel.unlink()
    mel.symlink_to(mel)


@pytest.mark.parametrize("spoil", [a_file_in_the_way, a_directory_in_the_way, a_link_to_itself])
def test_an_unreadable_cache_is_not_blamed_on_the_utterance(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    one = noise_utterance(tmp_path, "one", "go")
    spoil(prepare(tmp_path, one)[0].mel)

    with pytest.raises(Trouble, match=r"\.npy: cannot be read: .*: set ds_cache_dir to another directory") as caught:
        dataset.prepare([one], Alphabet(), tmp_path / "cache", tolerant=True)

    assert not isinstance(caught.value, dataset.Unusable)


def test_the_identity_of_a_set_is_its_content_and_not_its_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    here, there = noise_utterance(tmp_path, "one", "go"), noise_utterance(tmp_path / "other", "one", "go")

    def known(said: Utterance) -> str:
        return dataset.set_sha256(prepare(tmp_path, said))

    assert known(here) == known(there)
    assert known(replace(here, segment=Segment(0, 0.5))) != known(here)
    assert known(replace(here, transcript="stop")) != known(here)
    assert known(here) != known(noise_utterance(tmp_path, "one", "go", 0.5))
