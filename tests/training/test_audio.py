"""The features, against python_speech_features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import python_speech_features
import soundfile
from real_speech import utterances
from tone_corpus import DISTURBANCES, disturbance

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import audio, containers


@pytest.mark.parametrize("samples", [1, 10, 399, 400, 401, 560, 561, 720, 721, 16_000, 48_123])
def test_the_coefficients_are_those_of_python_speech_features(samples: int) -> None:
    signal = np.random.default_rng(samples).normal(0, 3000, samples).astype(np.int16)

    # The library's every second frame, as the 2016 notebook kept them.
    expected = python_speech_features.mfcc(signal, 16_000, numcep=26)[::2]

    found = audio.mfcc(signal.astype(np.float32))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4
    assert audio.frame_count(samples) == len(expected)


def test_silence_has_finite_coefficients() -> None:
    assert np.isfinite(audio.normalise_each(audio.mfcc(np.zeros(8000, np.float32)))).all()


@pytest.mark.parametrize("steps", [0, 0.15, 0.2])
@pytest.mark.parametrize(("name", "most"), [("each", 0.3), ("all", 0.05)])
def test_digital_silence_hardly_changes_the_features_of_speech(name: str, most: float, steps: float) -> None:
    normalise = audio.NORMALISATIONS[name]
    generator = np.random.default_rng(1)
    room = generator.normal(0, 10, 48_000)
    room[16_000:32_000] += generator.normal(0, 3000, 16_000)
    muted = np.round(generator.normal(0, steps, 48_000))
    muted[14_000:34_000] = room[14_000:34_000]

    in_room, silenced = (normalise(audio.mfcc(one.astype(np.float32))) for one in (room, muted))
    assert np.abs(in_room[55:95] - silenced[55:95]).mean() < most
    assert np.abs(in_room - normalise(audio.mfcc(np.round(room).astype(np.float32)))).max() < 0.5  # nothing is filled


@pytest.mark.parametrize(("value", "below"), [(0.0, True), (1.0, False)])
def test_one_sample_is_no_digital_silence(value: float, below: bool) -> None:
    samples = np.zeros(16_000, np.float32)
    samples[330] = value
    assert (audio.log_mel(samples)[1, -1] < audio.SILENT) == below


def test_each_coefficient_is_normalised_on_its_own_or_all_together() -> None:
    features = audio.mfcc(np.random.default_rng(1).normal(0, 3000, 16_000).astype(np.float32))

    assert np.allclose(audio.normalise_each(features).std(0), 1, atol=1e-3)
    together = audio.normalise_all(features)
    assert together.std() == pytest.approx(1, abs=1e-3)
    assert together.std(0).max() < 0.9  # the means of the coefficients still differ


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_wav_and_flac_give_the_same_samples(tmp_path: Path, suffix: str) -> None:
    signal = np.arange(-500, 500, dtype=np.int16)
    soundfile.write(tmp_path / f"a{suffix}", signal, 16_000, subtype="PCM_16")

    assert np.array_equal(audio.read_audio(tmp_path / f"a{suffix}"), signal)


def test_another_rate_or_stereo_is_refused_with_the_cure(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", np.zeros((800, 2), np.int16), 44_100)

    with pytest.raises(Trouble, match=r"fast\.wav: 44100 Hz, 2 channels: expected 16000 Hz, mono; .*sox"):
        audio.read_audio(tmp_path / "fast.wav")


@pytest.mark.parametrize("left", [1, 45, 1000, 11_000])
def test_a_truncated_recording_is_refused(tmp_path: Path, left: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.arange(-6000, 6000, dtype=np.int16), 16_000)
    data = (tmp_path / "a.wav").read_bytes()
    for name, part in {"cut.wav": data[:-left], "odd.raw": data[:-1][: len(data) // 2 * 2 - 1]}.items():
        (tmp_path / name).write_bytes(part)
        with pytest.raises(Trouble, match=r"(bytes of sound|whole samples of two).*: a cut file"):
            audio.read_audio(tmp_path / name)


def unknown_length(path: Path) -> None:
    """Take the length from a header, as a recorder that writes to a pipe leaves it."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".flac":  # 36 bits of STREAMINFO: RFC 9639, 8.2
        data[21] &= 0xF0
        data[22:26] = bytes(4)
    else:  # the size of CAF's data chunk
        place = data.index(b"data") + 4
        data[place : place + 8] = b"\xff" * 8
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", ["flac", "caf"])
@pytest.mark.parametrize("seconds", [0.5, 10, 23.7])  # less than a block, one, and several
def test_a_recording_of_unknown_length_is_read_to_its_end(tmp_path: Path, suffix: str, seconds: float) -> None:
    path = tmp_path / f"a.{suffix}"
    sound = np.random.default_rng(1).integers(-9000, 9000, round(seconds * 16_000)).astype(np.int16)
    soundfile.write(path, sound, 16_000, subtype="PCM_16")
    unknown_length(path)
    assert np.array_equal(audio.read_audio(path), sound)
    assert np.array_equal(audio.read_audio(path, 0.125, 0.25), sound[2000:4000])
    assert np.array_equal(np.concatenate(list(audio.read_blocks(path))), sound)


def test_a_caf_file_that_is_cut_is_refused_for_a_corpus(tmp_path: Path) -> None:
    path = tmp_path / "a.caf"
    soundfile.write(path, np.ones(16_000, np.int16), 16_000, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Trouble, match=r"bytes of sound: a cut file"):
        audio.read_audio(path)
    assert 15_900 < sum(map(len, audio.read_blocks(path))) < 16_000


def test_a_recording_written_to_a_pipe_has_no_valid_size(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.arange(100, dtype=np.int16), 16_000)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(data.replace(b"data\xc8\0\0\0", b"data\xff\xff\xff\xff"))
    assert (tmp_path / "b.wav").read_bytes() != data
    assert len(audio.read_audio(tmp_path / "b.wav")) == 100


@pytest.mark.parametrize("head", [b"\0\0\0\x20ftypM4A ", b"#!AMR\n", b"\x1aE\xdf\xa3\x9fB\x86"])
def test_a_recording_of_a_phone_or_a_browser_is_told_with_its_cure(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(head + bytes(9000))
    for read in (audio.read_audio, lambda path: list(audio.read_blocks(path))):
        with pytest.raises(
            Trouble, match=r"not recognised: if it is a recording, .*: ffmpeg -i .*/a\.wav .* NEW\.wav$"
        ):
            read(tmp_path / "a.wav")


def test_suffixes_are_case_insensitive(tmp_path: Path) -> None:
    np.arange(100, dtype=">i2").tofile(tmp_path / "a.RAW")
    assert audio.read_audio(tmp_path / "a.RAW").tolist() == list(range(100))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    signal = np.zeros(800, np.float32)
    signal[7] = value
    soundfile.write(tmp_path / "a.wav", signal, 16_000, subtype="FLOAT")
    with pytest.raises(Trouble, match=r"a\.wav: holds samples that are no finite numbers"):
        audio.read_audio(tmp_path / "a.wav")


def test_a_file_that_is_not_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"fLaC and no more")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.int16), 16_000)

    with pytest.raises(Trouble, match=r"a\.flac: cannot be read as audio"):
        audio.read_audio(tmp_path / "a.flac")
    with pytest.raises(Trouble, match=r"empty\.wav: holds no sample"):
        audio.read_audio(tmp_path / "empty.wav")
    with pytest.raises(Trouble, match="absent"):
        audio.read_audio(tmp_path / "absent.wav")


@pytest.mark.parametrize("rate", [22_050, 44_100, 16_000, 8_000])
def test_resampling_keeps_a_tone_and_its_length(rate: int) -> None:
    tone = (np.sin(2 * np.pi * 1000 * np.arange(rate) / rate) * 10_000).astype(np.int16)

    changed = audio.resample(tone, rate)

    assert len(changed) == 16_000
    expected = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000) * 10_000
    assert np.abs(changed[1000:-1000] - expected[1000:-1000]).max() < 60


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8000, 1), (22_050, 3)])
def test_a_recording_in_blocks_is_the_whole_recording(tmp_path: Path, rate: int, channels: int) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(round(23.5 * rate)) / rate) * 10_000
    shares = np.arange(1, channels + 1) * 2 / (channels + 1)  # 1 on average
    soundfile.write(tmp_path / "a.wav", (tone[:, None] * shares).astype(np.int16), rate)

    blocks = list(audio.read_blocks(tmp_path / "a.wav"))

    assert [len(block) for block in blocks] == [160_000, 160_000, 56_000]
    expected = np.sin(2 * np.pi * 1000 * np.arange(376_000) / 16_000) * 10_000
    assert np.abs(np.concatenate(blocks) - expected)[1000:-1000].max() < 60


@pytest.mark.parametrize("other", [-1.0, -0.95])
def test_channels_that_cancel_each_other_are_not_averaged(tmp_path: Path, other: float) -> None:
    path = tmp_path / "a.wav"
    tone = np.round(np.sin(np.arange(400_000) / 7) * 10_000)
    offset = 500  # which the mean keeps
    soundfile.write(path, (np.stack([tone, other * tone], 1) + offset).astype(np.int16), 16_000)
    told: list[str] = []

    assert np.array_equal(np.concatenate(list(audio.read_blocks(path, told.append))), tone + offset)
    assert np.array_equal(audio.read_audio(path, convert=True, tell=told.append), tone + offset)

    assert [doubt.startswith("channels cancel each other") for doubt in told] == [True, True]


def test_channels_that_differ_are_averaged(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(-3000, 3000, (32_000, 8))
    for channels in (noise, noise * [1, 0, 0, 0, 0, 0, 0, 0], noise * 0, noise[:, :1] * [1, -0.5]):
        soundfile.write(tmp_path / "a.wav", channels.astype(np.int16), 16_000)
        told: list[str] = []
        assert np.array_equal(
            np.concatenate(list(audio.read_blocks(tmp_path / "a.wav", told.append))),
            np.round(channels.astype(np.int16).mean(1)),
        )
        assert told == []


def test_a_recording_in_blocks_that_has_no_samples_or_no_header_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.int16), 44_100)

    with pytest.raises(Trouble, match=r"empty\.wav: holds no sample"):
        next(audio.read_blocks(tmp_path / "empty.wav"))
    with pytest.raises(Trouble, match=r"a\.raw: samples without a header"):
        next(audio.read_blocks(tmp_path / "a.raw"))


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_in_floating_point_are_as_loud_as_those_in_integers(tmp_path: Path, subtype: str) -> None:
    samples = np.array([-40_000, -32_768, -500, 0, 1, 32_767, 40_000])
    soundfile.write(tmp_path / "a.wav", samples / 32_768, 16_000, subtype=subtype)

    expected = np.clip(samples, -32_768, 32_767)
    assert np.array_equal(audio.read_audio(tmp_path / "a.wav"), expected)
    assert np.array_equal(next(audio.read_blocks(tmp_path / "a.wav")), expected)


def sphere(samples: np.ndarray[Any, Any], order: str, coding: str = "pcm") -> bytes:
    """A NIST SPHERE file, as CMU's and LIUM's archives hold them: a header of 1024 bytes, then the samples."""
    lines = [
        "NIST_1A",
        "   1024",
        "database_id -s3 an4",
        f"sample_count -i {len(samples)}",
        "sample_rate -i 16000",
        "channel_count -i 1",
        "sample_n_bytes -i 2",
        f"sample_byte_format -s2 {order}",
        "sample_sig_bits -i 16",
        f"sample_coding -s{len(coding)} {coding}",
        "end_head\n",
    ]
    return "\n".join(lines).encode().ljust(1024, b" ") + samples.astype({"01": "<i2", "10": ">i2"}[order]).tobytes()


@pytest.mark.parametrize("order", ["01", "10"])
def test_sphere_is_read_in_both_byte_orders_and_in_parts(tmp_path: Path, order: str) -> None:
    samples = np.arange(-16_000, 16_000, dtype=np.int16)
    (tmp_path / "a.sph").write_bytes(sphere(samples, order))

    assert np.array_equal(audio.read_audio(tmp_path / "a.sph"), samples)
    assert np.array_equal(audio.read_audio(tmp_path / "a.sph", 0.25, 0.75), samples[4000:12_000])


def test_compressed_sphere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sph").write_bytes(sphere(np.ones(800, np.int16), "01", "pcm,embedded-shorten-v2.00"))

    with pytest.raises(Trouble, match=r"a\.sph: cannot be read as audio: .*format"):
        audio.read_audio(tmp_path / "a.sph")


@pytest.mark.parametrize("order", [">i2", "<i2"])
@pytest.mark.parametrize("level", [3, 500, 20_000])
def test_raw_samples_are_sound_in_either_order_of_bytes(tmp_path: Path, order: str, level: int) -> None:
    samples = np.round(level * np.sin(np.arange(16_000) / 20)).astype(np.int16)
    (tmp_path / "a.raw").write_bytes(samples.astype(order).tobytes())

    assert np.array_equal(audio.read_audio(tmp_path / "a.raw"), samples)


@pytest.mark.parametrize("kind", ["WAV", "NIST", "FLAC"])
def test_a_recording_with_a_header_is_not_heard_as_raw_samples(tmp_path: Path, kind: str) -> None:
    tone = (np.sin(np.arange(16_000) / 20) * 3000).astype(np.int16)
    soundfile.write(tmp_path / "a", tone, 16_000, format=kind)
    (tmp_path / "a").rename(tmp_path / "a.raw")

    with pytest.raises(Trouble, match=r"a\.raw: is a recording with a header: .*: name it \.sph"):
        audio.read_audio(tmp_path / "a.raw")

    (tmp_path / "a.raw").rename(tmp_path / "a.sph")
    assert np.array_equal(audio.read_audio(tmp_path / "a.sph"), tone)


@pytest.mark.parametrize("rate", [7_999, 11_025, 44_101, 96_000])
def test_a_converted_recording_is_as_long_as_it_was(tmp_path: Path, rate: int) -> None:
    tone = (np.sin(2 * np.pi * 500 * np.arange(round(1.3 * rate)) / rate) * 9000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", tone, rate)

    samples = audio.read_audio(tmp_path / "a.wav", convert=True)

    assert len(samples) == pytest.approx(1.3 * 16_000, abs=1)
    assert np.abs(samples[-1000:]).max() == pytest.approx(9000, rel=0.1)  # no silence at the end


@pytest.mark.parametrize("rate", [1, 900, 1_000_001])
def test_an_absurd_rate_is_refused_on_every_way(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.ones(800, np.int16), rate)

    for read in (lambda path: audio.read_audio(path, convert=True), lambda path: list(audio.read_blocks(path))):
        with pytest.raises(Trouble, match=f"{rate} samples a second: expected 1000 to 1000000: a damaged header"):
            read(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: expected a recording"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "pointer of Git LFS: .*git lfs pull"),
    ],
)
def test_what_lies_in_the_place_of_a_recording_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.wav").write_bytes(content)

    for read in (audio.read_audio, lambda path: list(audio.read_blocks(path))):
        with pytest.raises(Trouble, match=rf"a\.wav: .*{said}"):
            read(tmp_path / "a.wav")


def test_the_content_decides_what_is_an_mp3(tmp_path: Path) -> None:
    tone = (np.sin(np.arange(8_000) / 10) * 9000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", tone, 8_000)
    (tmp_path / "a.wav").rename(tmp_path / "wav.mp3")
    soundfile.write(tmp_path / "a.mp3", tone, 8_000)
    (tmp_path / "a.mp3").rename(tmp_path / "mp3.wav")

    assert len(audio.read_audio(tmp_path / "mp3.wav")) == pytest.approx(16_000, rel=0.2)
    with pytest.raises(Trouble, match="8000 Hz"):
        audio.read_audio(tmp_path / "wav.mp3")


def test_a_format_in_which_nothing_can_be_sought_is_read(tmp_path: Path) -> None:
    tone = (np.sin(np.arange(16_000) / 10) * 9000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", tone, 16_000, subtype="GSM610")

    assert len(audio.read_audio(tmp_path / "a.wav")) == pytest.approx(16_000, abs=320)


@pytest.mark.parametrize("rate", [48_000, 32_000, 16_000])
def test_mp3_of_any_rate_is_resampled_to_16_khz(tmp_path: Path, rate: int) -> None:
    tone = (np.sin(2 * np.pi * 1000 * np.arange(rate) / rate) * 10_000).astype(np.int16)
    soundfile.write(tmp_path / "a.mp3", tone, rate, format="MP3")

    samples = audio.read_audio(tmp_path / "a.mp3")

    assert len(samples) == pytest.approx(16_000, rel=0.02)
    spectrum = np.abs(np.fft.rfft(samples[2000:14_000]))
    assert spectrum.argmax() * 16_000 / 12_000 == pytest.approx(1000, abs=2)


def test_a_truncated_flac_file_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 1000, 32_000).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", noise, 16_000)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(Trouble, match=r"a\.flac: cannot be read as audio"):
        audio.read_audio(tmp_path / "a.flac")


def header_of(path: Path, *, riff: int, data: int, before: bytes = b"") -> None:
    """Write these sizes into the header of a wav file, and chunks before its data."""
    content = path.read_bytes()
    place = content.index(b"data")
    sizes = riff.to_bytes(4, "little"), data.to_bytes(4, "little")
    path.write_bytes(b"RIFF" + sizes[0] + content[8:place] + before + b"data" + sizes[1] + content[place + 8 :])


@pytest.mark.parametrize(
    ("riff", "data"), [(36, 0), (0, 0), (0xFFFFFFFF, 0), (0, 0xFFFFFFFF), (0x7FFFFFFF, 0x7FFFFFDB)]
)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_header_that_was_never_finished_is_no_reason_to_refuse_the_sound(
    tmp_path: Path, riff: int, data: int, subtype: str
) -> None:
    stereo = np.stack([np.arange(-4000, 4000), np.arange(-4000, 4000)], 1).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", stereo / 32768, 16_000, subtype=subtype)
    expected = np.concatenate(list(audio.read_blocks(tmp_path / "a.wav")))
    header_of(tmp_path / "a.wav", riff=riff, data=data, before=b"LIST\4\0\0\0abcd")

    assert np.array_equal(np.concatenate(list(audio.read_blocks(tmp_path / "a.wav"))), expected)
    soundfile.write(tmp_path / "mono.wav", stereo[:, 0] / 32768, 16_000, subtype=subtype)
    header_of(tmp_path / "mono.wav", riff=riff, data=data)
    assert np.array_equal(audio.read_audio(tmp_path / "mono.wav"), stereo[:, 0])
    assert np.array_equal(audio.read_audio(tmp_path / "mono.wav", 0.1, 0.2), stereo[1600:3200, 0])


@pytest.mark.parametrize("header", [0, 8])
def test_a_size_of_the_sound_that_counts_the_header_too_cuts_nothing(tmp_path: Path, header: int) -> None:
    signal = np.arange(-4000, 4000, dtype=np.int16)
    path = tmp_path / "a.wav"
    soundfile.write(path, signal, 16_000, subtype="PCM_16")
    size = path.stat().st_size
    header_of(path, riff=size - 8, data=size - header)
    assert np.array_equal(audio.read_audio(path), signal)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(Trouble, match="a cut file"):
        audio.read_audio(path)


def test_a_large_wav_file_whose_header_was_never_finished_is_read(tmp_path: Path) -> None:
    signal = np.arange(-4000, 4000, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", signal, 16_000, format="RF64", subtype="PCM_16")
    content = (tmp_path / "a.wav").read_bytes()
    place = content.index(b"ds64") + 8
    (tmp_path / "b.wav").write_bytes(content[:place] + bytes(24) + content[place + 24 :])

    for name in ("a.wav", "b.wav"):
        assert np.array_equal(audio.read_audio(tmp_path / name), signal)


@pytest.mark.parametrize("start", [-4000, 0])
def test_a_size_of_0_before_what_is_no_chunk_was_never_filled_in(tmp_path: Path, start: int) -> None:
    signal = np.arange(start, start + 8000).astype(np.int16)
    if start == 0:
        signal[:100] = 0
    soundfile.write(tmp_path / "a.wav", signal, 16_000, subtype="PCM_16")
    header_of(tmp_path / "a.wav", riff=36 + 16_000, data=0)  # the other size was filled in

    assert np.array_equal(audio.read_audio(tmp_path / "a.wav"), signal)


def test_a_large_wav_file_by_its_other_name_is_read_without_what_follows(tmp_path: Path) -> None:
    signal = np.arange(-4000, 4000, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", signal, 16_000, format="RF64", subtype="PCM_16")
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(b"BW64" + content[4:] + b"LIST\4\0\0\0abcd")

    assert np.array_equal(audio.read_audio(tmp_path / "a.wav"), signal)
    assert np.array_equal(np.concatenate(list(audio.read_blocks(tmp_path / "a.wav"))), signal)


def chunk(name: bytes, content: bytes, *, is_padded: bool = True) -> bytes:
    """A chunk of a wav file."""
    return name + len(content).to_bytes(4, "little") + content + (b"\0" if is_padded and len(content) % 2 else b"")


def wav_of(path: Path, *chunks: bytes) -> None:
    """Write a wav file of 16 kHz and 16 bits, whose other chunks are these."""
    body = b"WAVE" + b"".join(chunks)
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)


FORMAT = chunk(b"fmt ", b"\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0")
SOUND = np.arange(-4000, 4000, dtype=np.int16)
BYTES = SOUND.tobytes()
NO_PAD = chunk(b"LIST", b"abcde", is_padded=False)


@pytest.mark.parametrize(
    "chunks",
    [
        (FORMAT, chunk(b"LIST", b"abcde"), chunk(b"data", BYTES)),
        (FORMAT, chunk(b"data", BYTES), NO_PAD),
        (FORMAT, chunk(b"data", BYTES), NO_PAD, chunk(b"bext", b"xy")),
        (FORMAT, chunk(b"data", BYTES + b"\7", is_padded=False), chunk(b"LIST", b"abcd")),
        (FORMAT, chunk(b"data", BYTES), b"no chunk, but a line that somebody added"),
    ],
)
def test_a_wav_file_that_other_tools_read_is_read(tmp_path: Path, chunks: tuple[bytes, ...]) -> None:
    wav_of(tmp_path / "a.wav", *chunks)

    assert np.array_equal(audio.read_audio(tmp_path / "a.wav"), SOUND)
    assert np.array_equal(np.concatenate(list(audio.read_blocks(tmp_path / "a.wav"))), SOUND)


@pytest.mark.parametrize(
    ("chunks", "told"),
    [
        ((FORMAT, NO_PAD, chunk(b"data", BYTES)), "the chunk 'LIST' has 5 bytes and no padding byte: .*, 'data'"),
        ((NO_PAD, FORMAT, chunk(b"data", BYTES)), "the chunk 'LIST' has 5 bytes and no padding byte"),
        (
            (FORMAT, NO_PAD, chunk(b"bext", b"x" * 7, is_padded=False), chunk(b"data", BYTES)),
            "the chunk 'LIST' has 5 bytes and no padding byte: expected one .*, found the next chunk, 'bext'",
        ),
        (
            (FORMAT, chunk(b"data", BYTES[:8000]), chunk(b"data", BYTES[8000:])),
            "expected one data chunk, found 2, of 8000, 8000 bytes",
        ),
        (
            (FORMAT, chunk(b"data", BYTES[:8000]), chunk(b"LIST", b"abc"), chunk(b"data", BYTES[8000:])),
            "expected one data chunk, found 2, of 8000, 8000 bytes",
        ),
        ((FORMAT, chunk(b"data", b""), chunk(b"data", BYTES)), "expected one data chunk, found 2, of 0, 16000 bytes"),
        ((FORMAT, chunk(b"data", BYTES), chunk(b"data", b"")), "expected one data chunk, found 2, of 16000, 0 bytes"),
    ],
)
def test_a_wav_file_that_each_tool_reads_differently_is_refused(
    tmp_path: Path, chunks: tuple[bytes, ...], told: str
) -> None:
    wav_of(tmp_path / "a.wav", *chunks)

    for read in (audio.read_audio, lambda path: list(audio.read_blocks(path))):
        with pytest.raises(Trouble, match=rf"a\.wav: {told}"):
            read(tmp_path / "a.wav")


def test_a_finished_recording_without_sound_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.int16), 16_000, subtype="PCM_16")
    header = (tmp_path / "a.wav").read_bytes()[:44]
    (tmp_path / "a.wav").write_bytes(b"RIFF\x30\0\0\0" + header[8:] + b"LIST\4\0\0\0abcd")

    for read in (audio.read_audio, lambda path: list(audio.read_blocks(path))):
        with pytest.raises(Trouble, match=r"a\.wav: holds no sample"):
            read(tmp_path / "a.wav")


NOISE = np.random.default_rng(1).normal(0, 1000, 48_000).astype(np.int16)


def rifx(samples: np.ndarray[Any, Any]) -> bytes:
    """A wav file with the bytes of each number in the other order."""
    format_ = b"fmt \0\0\0\x10\0\1\0\1\0\0\x3e\x80\0\0\x7d\0\0\2\0\x10"
    body = b"WAVE" + format_ + b"data" + (2 * len(samples)).to_bytes(4, "big") + samples.astype(">i2").tobytes()
    return b"RIFX" + len(body).to_bytes(4, "big") + body


def recording(path: Path, kind: str) -> bytes:
    """Write NOISE in another format than the common ones, and return the file."""
    if kind == "RIFX":
        path.write_bytes(rifx(NOISE))
    elif kind == "NIST":
        path.write_bytes(sphere(NOISE, "01"))
    else:
        soundfile.write(path, NOISE / 32_768, 16_000, format=kind)
    return path.read_bytes()


KINDS = ["NIST", "AIFF", "AU", "W64", "RIFX", "CAF", "MP3"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_recording_of_any_format_is_refused_for_a_corpus_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.mp3"  # the content tells the format, not the name
    whole = recording(path, kind)
    assert len(audio.read_audio(path)) == pytest.approx(len(NOISE), rel=0.05)
    path.write_bytes(b"ID3\4\0\0\0\0\1\0" + bytes(128) + whole if kind == "MP3" else whole + bytes(2))
    assert len(audio.read_audio(path)) == pytest.approx(len(NOISE), rel=0.05)

    for share in (0.34, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(Trouble, match=r"a\.mp3: \d+ of \d+ bytes of sound: a cut file"):
            audio.read_audio(path)
        assert sum(map(len, audio.read_blocks(path))) == pytest.approx(len(NOISE) * share, rel=0.3)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_an_ogg_file_that_is_cut_or_damaged_is_refused_for_a_corpus_alone(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE, 16_000, format="OGG", subtype=codec)
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(whole + b"TAG" + bytes(125))  # an ID3 tag
    assert len(audio.read_audio(path)) == len(NOISE)

    for fault, content in {
        "not whole: a cut file": whole[:half],
        "is not whole": whole[:-1],
        "damaged": whole[:half] + bytes([whole[half] ^ 4]) + whole[half + 1 :],
        "is damaged": whole[:half] + whole[half + 100 :],  # a piece of it was lost
    }.items():
        path.write_bytes(content)
        with pytest.raises(Trouble, match=rf"a\.wav: .*{fault}"):
            audio.read_audio(path)
        assert sum(map(len, audio.read_blocks(path))) <= len(NOISE)


@pytest.mark.parametrize(
    ("kind", "codec", "tag"),
    [
        ("OGG", "VORBIS", b""),
        ("OGG", "OPUS", b""),
        ("FLAC", None, b""),
        ("MP3", None, b""),
        ("MP3", None, b"ID3\3\0\0\0\0\2\0" + bytes(256)),
        *((kind, "PCM_16", b"") for kind in ("WAV", "WAVEX", "RF64", "AIFF", "AU", "CAF", "W64", "NIST")),
    ],
)
def test_two_recordings_in_one_file_are_told_and_not_half_of_them_read(
    tmp_path: Path, kind: str, codec: str | None, tag: bytes
) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, NOISE, 16_000, format=kind, subtype=codec)
    one = path.read_bytes()
    path.write_bytes(tag + one + tag + one)
    for read in (audio.read_audio, lambda path: list(audio.read_blocks(path))):
        with pytest.raises(Trouble, match=rf"a\.mp3: .* at byte {len(tag + one)}"):
            read(path)


@pytest.mark.parametrize(
    ("kind", "told", "damaged"),
    [
        ("CAF", b"data" + (4 + 2 * 48_000).to_bytes(8, "big"), b"data" + (2**63 - 1).to_bytes(8, "big")),
        ("NIST", b"sample_count -i 48000", b"sample_count -i " + b"9" * 5000),
    ],
)
def test_a_size_beyond_that_of_any_file_is_a_fault_of_the_recording(
    tmp_path: Path, kind: str, told: bytes, damaged: bytes
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE, 16_000, format=kind, subtype="PCM_16")
    whole = path.read_bytes()
    assert told in whole
    path.write_bytes(whole.replace(told, damaged))
    for read in (audio.read_audio, lambda path: list(audio.read_blocks(path))):
        with pytest.raises(Trouble, match=r"a\.wav: cannot be read as audio: .*: fetch or copy it again"):
            read(path)


def test_an_mp3_of_a_few_frames_more_than_its_header_tells_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", NOISE, 16_000)
    whole = bytearray((tmp_path / "a.mp3").read_bytes())
    place = whole.index(b"Xing") + 12  # the number of bytes
    told = int.from_bytes(whole[place : place + 4], "big")
    for fewer in range(2000):  # some of them end where a frame begins
        whole[place : place + 4] = (told - fewer).to_bytes(4, "big")
        (tmp_path / "a.mp3").write_bytes(whole)
        with (tmp_path / "a.mp3").open("rb") as stream:
            assert containers.find_data(stream)


@pytest.mark.parametrize("order", ["01", "10"])
def test_a_sphere_file_that_does_not_tell_its_length_is_read(tmp_path: Path, order: str) -> None:
    (tmp_path / "a.sph").write_bytes(sphere(NOISE, order).replace(b"sample_count -i 48000", b"sample_note_ -i 48000"))
    assert np.array_equal(audio.read_audio(tmp_path / "a.sph"), NOISE)


def with_size(content: bytes, kind: str, size: int) -> bytes:
    """Return a file of a format with this size of the sound in its header."""
    place, width, extra = {
        "AU": (8, 4, 0),
        "AIFF": (content.find(b"SSND") + 4, 4, 8),
        "CAF": (content.find(b"data") + 4, 8, 4),
        "RIFX": (content.find(b"data") + 4, 4, 0),
    }[kind]
    return content[:place] + (size + extra if size else 0).to_bytes(width, "big") + content[place + width :]


@pytest.mark.parametrize("kind", ["AU", "AIFF", "CAF", "RIFX"])
def test_a_size_of_0_is_no_reason_to_refuse_the_sound_in_any_format(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(with_size(recording(path, kind), kind, 0))
    assert np.array_equal(audio.read_audio(path), NOISE)
    assert np.array_equal(np.concatenate(list(audio.read_blocks(path))), NOISE)


@pytest.mark.parametrize("kind", ["AU", "AIFF", "CAF", "RIFX", "RIFF"])
def test_sizes_of_an_earlier_time_are_refused_for_a_corpus_and_the_sound_is_transcribed(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.wav"
    if kind == "RIFF":
        wav_of(path, FORMAT, chunk(b"data", NOISE[:2048].tobytes()))
        path.write_bytes(path.read_bytes() + NOISE[2048:].tobytes())
    else:
        path.write_bytes(with_size(recording(path, kind), kind, 4096))

    with pytest.raises(Trouble, match=r"a\.wav: expected the sound to end after 41\d\d bytes|after 4096 bytes"):
        audio.read_audio(path)
    assert np.array_equal(np.concatenate(list(audio.read_blocks(path))), NOISE)


@pytest.mark.parametrize(
    "after", [bytes(9000), b"ID3\3" + b"\7" * 9000, chunk(b"LIST", b"\7" * 9000), b"a line\n" * 900]
)
def test_what_follows_the_sound_and_is_none_is_no_part_of_it(tmp_path: Path, after: bytes) -> None:
    wav_of(tmp_path / "a.wav", FORMAT, chunk(b"data", BYTES))
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes() + after)
    assert np.array_equal(audio.read_audio(tmp_path / "a.wav"), SOUND)
    assert np.array_equal(np.concatenate(list(audio.read_blocks(tmp_path / "a.wav"))), SOUND)


def test_an_offset_is_removed_and_digital_silence_in_it_stays() -> None:
    noise = np.random.default_rng(3).normal(0, 800, 32_000).astype(np.float32)
    noise[8000:16_000] = 0
    shifted = np.where(noise == 0, 0, noise + 3000).astype(np.float32)

    plain, changed = audio.speech_mel(noise), audio.speech_mel(shifted)

    assert np.abs(plain - changed).max() < 0.2
    assert (plain[:, -1] < audio.SILENT).sum() == (changed[:, -1] < audio.SILENT).sum() > 20
    small = noise + 5
    assert audio.without_offset(small) is small  # a mean like that of any recording


@pytest.mark.parametrize("background", [0, 30, 300])
def test_long_quiet_parts_are_cut_to_what_surrounds_speech(background: int) -> None:
    rng = np.random.default_rng(5)

    def quiet(seconds: float) -> audio.Floats:
        return np.round(rng.normal(0, background, round(seconds * 16_000))).astype(np.float32)

    def loud() -> audio.Floats:
        syllables = 1.2 + np.sin(2 * np.pi * 4 * np.arange(16_000) / 16_000)
        return (syllables * rng.normal(0, 3000, 16_000)).astype(np.float32) + quiet(1)

    samples = np.concatenate([quiet(12), loud(), quiet(0.8), loud(), quiet(4), loud(), quiet(7)])

    seconds = 0.02 * len(audio.speech_mel(samples))

    assert seconds == pytest.approx(0.3 + 1 + 0.8 + 1 + 0.6 + 1 + 0.3, abs=0.2)


@pytest.mark.parametrize(("before", "after"), [(0.6, 0), (0, 0.6), (0.95, 0.95)])
def test_a_quiet_second_before_or_after_speech_is_cut_and_one_within_it_is_not(before: float, after: float) -> None:
    rng = np.random.default_rng(6)
    parts = [rng.integers(-1, 2, round(seconds * 16_000)) for seconds in (before, 0.9, after)]
    word = rng.normal(0, 3000, 8000)

    seconds = 0.02 * len(
        audio.speech_mel(np.concatenate([parts[0], word, parts[1], word, parts[2]]).astype(np.float32))
    )

    assert seconds == pytest.approx(min(before, 0.3) + 0.5 + 0.9 + 0.5 + min(after, 0.3), abs=0.1)


@pytest.mark.parametrize("rate", [0, 50, 440])
def test_what_does_not_rise_above_itself_is_not_cut(rate: int) -> None:
    time = np.arange(80_000) / 16_000
    samples = np.random.default_rng(1).normal(0, 200, 80_000) + 2000 * np.sin(2 * np.pi * rate * time)
    samples[40_000] = 30_000  # a click

    mel = audio.log_mel(samples.astype(np.float32))

    assert audio.rise(mel) < audio.LEAST_RISE
    assert audio.without_quiet(mel) is mel


@pytest.mark.parametrize("kind", DISTURBANCES)
@pytest.mark.parametrize("level", [0, 1, 20])
@pytest.mark.parametrize("seconds", [1, 3.3, 60])
def test_what_a_microphone_or_a_sound_card_adds_does_not_rise(kind: str, level: float, seconds: float) -> None:
    samples = disturbance(kind, seconds)
    noise = np.random.default_rng(1).normal(0, level, len(samples))

    assert audio.rise(audio.log_mel(audio.without_offset(np.round(samples + noise)))) < audio.LEAST_RISE


@pytest.mark.parametrize("place", [0, 150, -150, -1])
def test_a_click_at_an_end_does_not_rise(place: int) -> None:
    samples = np.random.default_rng(1).normal(0, 20, 16_000).astype(np.float32)
    samples[place] = 20_000

    assert audio.rise(audio.log_mel(samples)) < audio.LEAST_RISE


@pytest.mark.parametrize("kind", ["rumble", "wind", "settling offset"])
def test_of_speech_with_a_rumble_little_but_the_speech_is_left(kind: str) -> None:
    for plain in utterances():
        samples = plain + disturbance(kind, len(plain) / 16_000)[: len(plain)]
        clean = audio.log_mel(plain, with_rumble=True)
        left, spoilt = (np.abs(audio.log_mel(samples, with_rumble=rumble) - clean) for rumble in (False, True))

        assert left.mean() < min(0.5, 0.7 * spoilt.mean())
        assert np.median(left) < 0.05


def test_speech_without_a_rumble_is_left_as_it_is() -> None:
    rows = [np.abs(audio.log_mel(one) - audio.log_mel(one, with_rumble=True)).max(1) for one in utterances()]

    assert np.mean(np.concatenate(rows) == 0) > 0.99
