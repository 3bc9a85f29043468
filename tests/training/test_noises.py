"""Recordings of noise: which ones are found, what is refused, and what is drawn."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.sound import noises


def write(path: Path, seconds: float = 2.0, *, rate: int = 16_000, level: float = 500, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (round(seconds * rate), channels)
    samples = np.random.default_rng(len(path.name) + round(seconds * 10)).normal(0, 1, shape) * level
    soundfile.write(path, samples.astype(np.int16), rate)
    return path


def parameters(source: Path, **variables: str) -> Parameters:
    given = {
        "ds_augment_overlay": "1",
        "ds_augment_overlay_source": str(source),
        "ds_cache_dir": str(source.parent / "c"),
    }
    return from_environment({**given, **variables})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(tmp_path / "noise" / "street.wav", 2.0)
    write(tmp_path / "noise" / "inside" / "café babble.flac", 0.7)
    write(tmp_path / "noise" / "._street.wav", 1.0)  # as macOS leaves beside each file
    (tmp_path / "noise" / "LICENSE").write_text("free")
    return tmp_path / "noise"


def test_a_directory_a_list_and_one_file_name_recordings(directory: Path) -> None:
    listed = directory.parent / "noise.txt"
    listed.write_text("noise/street.wav\n\n" + f"{directory}/inside/café babble.flac\r\n", "utf-8-sig")
    found = noises.collect(parameters(directory))

    assert sorted(one.path.name for one in found.recordings) == ["café babble.flac", "street.wav"]
    assert noises.collect(parameters(listed)) == found
    assert [one.samples for one in noises.collect(parameters(directory / "street.wav")).recordings] == [32_000]


def test_without_a_share_of_utterances_nothing_is_read(tmp_path: Path) -> None:
    assert noises.collect(parameters(tmp_path / "missing", ds_augment_overlay="0")) is noises.NONE
    assert noises.NONE.identity is None


def test_names_and_order_do_not_decide_what_is_drawn(directory: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    shutil.copy(directory / "street.wav", renamed / "0.wav")
    shutil.copy(directory / "inside" / "café babble.flac", renamed / "1.flac")
    shutil.copy(directory / "street.wav", renamed / "2.wav")  # twice
    one, other = noises.collect(parameters(directory)), noises.collect(parameters(renamed))

    assert one.identity == other.identity
    layers = [those.layers(2, 50_000, np.random.default_rng(3)) for those in (one, other)]
    assert np.array_equal(*layers)
    assert not np.array_equal(layers[0], one.layers(2, 50_000, np.random.default_rng(4)))
    assert noises.collect(parameters(directory / "street.wav")).identity != one.identity


def test_a_layer_is_stitched_together_and_has_the_power_one(directory: Path) -> None:
    found = noises.collect(parameters(directory))
    for length in (1, 100, 11_200, 160_000):  # 0.7 s and 2 s of noise
        one, three = (found.layers(count, length, np.random.default_rng(length)) for count in (1, 3))

        assert len(one) == len(three) == length
        if length > 1:
            assert one.var() == pytest.approx(1, rel=1e-3)
        if length > 1000:
            assert 2.7 < three.var() < 9.1  # the more, the more layers are of the same place of one recording


def refused(source: Path, **variables: str) -> str:
    with pytest.raises(Trouble) as raised:
        noises.collect(parameters(source, **variables))
    return str(raised.value)


def test_sources_that_hold_no_noise_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README").write_text("nothing")
    (tmp_path / "blank.txt").write_text("\n\n")
    (tmp_path / "noise.bin").write_bytes(b"\xff\xfe\x00")
    expected = {
        "missing": "No such file or directory: expected a directory of recordings, or a text file",
        "empty": "no recording found (.flac .mp3",
        "blank.txt": "no recording found",
        "noise.bin": "is no text: expected a directory",
    }
    for name, why in expected.items():
        message = refused(tmp_path / name)

        assert message.startswith(f"{tmp_path / name}: {why}")
        assert message.endswith("correct ds_augment_overlay_source")
        assert "\n" not in message


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"rate": 8000}, "8000 Hz, 1 channels: expected 16000 Hz, mono; convert it with: sox"),
        ({"channels": 2}, "16000 Hz, 2 channels: expected 16000 Hz, mono"),
        ({"level": 0}, "holds silence: expected noise: remove it from ds_augment_overlay_source"),
        ({"seconds": 0.05}, "800 samples of noise: expected 0.1 s or more"),
        ({"seconds": 0}, "holds no sample"),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused_with_the_cure(
    directory: Path, options: dict[str, float], why: str
) -> None:
    bad = write(directory / "bad.wav", **options)  # type: ignore[arg-type]
    message = refused(directory)

    assert message.startswith(f"{bad}: {why}")
    assert "\n" not in message


def test_a_listed_recording_that_is_missing_or_damaged_is_named(directory: Path) -> None:
    (directory / "cut.wav").write_bytes((directory / "street.wav").read_bytes()[:-1000])
    listed = directory / "list.txt"
    listed.write_text("street.wav\ngone.wav\ncut.wav\n")
    lines = refused(listed).splitlines()

    assert [line.partition(": ")[0] for line in lines[:2]] == [str(directory / "gone.wav"), str(directory / "cut.wav")]
    assert lines[2].startswith("ds_augment_overlay_source: 2 of 3 recordings cannot be laid over speech")


def test_other_rates_and_channels_are_converted_on_demand(directory: Path) -> None:
    write(directory / "stereo.wav", 1.0, rate=44_100, channels=2)
    found = noises.collect(parameters(directory, ds_resample="1"))

    assert sorted(one.samples for one in found.recordings) == [11_200, 16_000, 32_000]
    assert found.layers(1, 80_000, np.random.default_rng(0)).var() == pytest.approx(1, rel=1e-3)


def test_noise_without_a_source_is_a_fault_of_the_settings() -> None:
    with pytest.raises(UsageTrouble, match=r"ds_augment_overlay=0\.5: expected ds_augment_overlay_source, too"):
        from_environment({"ds_augment_overlay": "0.5"})


@pytest.mark.parametrize("text", ["", "a", "5:", "20:5", "1:2:3", "-100", "nan", "5:inf"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageTrouble, match=r"a number.*LOW:HIGH"):
        from_environment({"ds_augment_overlay_snr": text})


def test_a_range_may_have_one_end_or_two() -> None:
    given = {"ds_augment_overlay_snr": " -5 : 10.50 ", "ds_augment_overlay_layers": "3"}

    read = from_environment(given)
    assert (read.augment_overlay_snr, read.augment_overlay_layers) == ("-5:10.5", "3")
