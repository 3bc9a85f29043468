"""Variation of the sound in training: what is drawn, and that nothing else decides it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from real_speech import utterances
from tone_corpus import SMALL, Job, prepare_sets

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import acoustics, audio, batches, dataset, train
from deepspeech_wer.training.acoustics import Acoustics
from deepspeech_wer.training.corpus import Segment, Utterance
from deepspeech_wer.training.export import _learnt_narrow_band
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.sound import noises
from deepspeech_wer.training.text import Alphabet

SHARES = ("overlay", "reverb", "volume", "resample", "codec")


def given(place: Path, **variables: str) -> Parameters:
    """Parameters with the shares named, and noise in `place`."""
    source = place / "noise"
    source.mkdir(exist_ok=True)
    for number in range(3):
        hiss = np.random.default_rng(number).normal(0, 300, 24_000).astype(np.int16)
        soundfile.write(source / f"{number}.wav", hiss, 16_000)
    named = {f"ds_augment_{name}": value for name, value in variables.items()}
    own = {"ds_augment_overlay_source": str(source), "ds_cache_dir": str(place / "cache")}
    return from_environment({**SMALL, **own, **named})


def of_epoch(parameters: Parameters, epoch: int = 0) -> Acoustics:
    return Acoustics(parameters, noises.collect(parameters), epoch)


@pytest.fixture
def items(tmp_path: Path) -> tuple[dataset.Item, ...]:
    said = []
    for number, samples in enumerate(utterances(4)):
        pause = np.random.default_rng(number).normal(0, 2, 40_000 if number == 1 else 0)  # the second has a long pause
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.concatenate([samples, pause, samples]).astype(np.int16), 16_000)
        said.append(Utterance(str(number), path, "a b"))
    said.append(Utterance("part", tmp_path / "0.wav", "a", segment=Segment(0.1, 1.2)))
    return dataset.prepare(said, Alphabet(), tmp_path / "cache" / "features")


ALL = dict.fromkeys(SHARES, "1")


def test_without_any_variable_it_is_off(tmp_path: Path, items: tuple[dataset.Item, ...]) -> None:
    off = given(tmp_path)

    assert not acoustics.is_on(off)
    for name in SHARES:
        assert acoustics.is_on(given(tmp_path, **{name: "0.1"}))
    assert [of_epoch(off).mel(item) for item in items] == [None] * 5


@pytest.mark.parametrize("name", SHARES)
def test_each_changes_the_features_and_no_length(name: str, tmp_path: Path, items: tuple[dataset.Item, ...]) -> None:
    one = of_epoch(given(tmp_path, **{name: "1"}))
    for item in items:
        changed, plain = one.mel(item), np.load(item.mel)

        assert changed is not None
        assert changed.shape == plain.shape == (item.frames, 27)
        assert np.isfinite(changed).all()
        assert np.abs(changed - plain).max() > 0.05


def test_the_share_is_that_of_the_utterances(tmp_path: Path, items: tuple[dataset.Item, ...]) -> None:
    third = given(tmp_path, volume="0.3")
    changed = [of_epoch(third, epoch).mel(item) is not None for item in items for epoch in range(80)]

    assert 0.2 < np.mean(changed) < 0.4


def test_one_variation_leaves_the_draws_of_the_others(tmp_path: Path, items: tuple[dataset.Item, ...]) -> None:
    half = of_epoch(given(tmp_path, volume="0.5"), 3)
    more = of_epoch(given(tmp_path, volume="0.5", reverb="0.0001", codec="0.0001"), 3)

    for item in items:
        one, other = half.mel(item), more.mel(item)
        assert (one is None) == (other is None)
        if one is not None:
            assert np.array_equal(one, other)


def test_neither_threads_nor_order_nor_company_decide_what_is_drawn(
    tmp_path: Path, items: tuple[dataset.Item, ...]
) -> None:
    some = of_epoch(given(tmp_path, **dict.fromkeys(SHARES, "0.6"), overlay_layers="1:3"), 7)
    alone = {item.utterance.id: some.mel(item) for item in items}
    backwards = {item.utterance.id: some.mel(item) for item in reversed(items)}
    with ThreadPoolExecutor(4) as pool:
        together = dict(zip([one.utterance.id for one in items * 5], pool.map(some.mel, items * 5), strict=True))
    renamed = replace(items[0], utterance=replace(items[0].utterance, id="another"))

    assert any(one is not None for one in alone.values())
    for name, expected in alone.items():
        for found in (backwards[name], together[name]):
            assert np.array_equal(found, expected) if expected is not None else found is None  # type: ignore[arg-type]
    assert np.array_equal(some.mel(renamed), alone["0"])  # type: ignore[arg-type]


def test_epochs_seeds_and_recordings_draw_differently(tmp_path: Path, items: tuple[dataset.Item, ...]) -> None:
    one = given(tmp_path, **ALL)
    found = [
        of_epoch(one).mel(items[0]),
        of_epoch(one, 1).mel(items[0]),
        of_epoch(replace(one, random_seed=one.random_seed + 1)).mel(items[0]),
    ]

    assert not any(np.array_equal(found[a], found[b]) for a, b in ((0, 1), (0, 2), (1, 2)))  # type: ignore[arg-type]
    decays = {of_epoch(one)._rng(item, acoustics.ROOM).random() for item in items}
    assert len(decays) == len(items)


def test_a_batch_has_the_varied_sound_and_the_plain_one_stays_to_the_bit(
    tmp_path: Path, items: tuple[dataset.Item, ...]
) -> None:
    parameters = given(tmp_path, **ALL)
    sound = of_epoch(parameters)
    before = batches.assemble(items, parameters)
    varied = batches.assemble(items, parameters, np.random.default_rng(0), sound)

    assert not np.array_equal(before.features, varied.features)
    assert np.array_equal(before.features, batches.assemble(items, parameters).features)
    row = varied.features[2, : items[2].frames]
    assert np.array_equal(row, audio.normalise_each(audio.cepstra(sound.mel(items[2]))))  # type: ignore[arg-type]
    # Of another batch the utterance is the same.
    assert np.array_equal(batches.assemble(items[2:3], parameters, None, sound).features[0, : items[2].frames], row)


def test_noise_that_vanishes_during_the_training_is_named(tmp_path: Path, items: tuple[dataset.Item, ...]) -> None:
    sound = of_epoch(given(tmp_path, overlay="1"))
    for path in (tmp_path / "noise").iterdir():
        path.unlink()

    with pytest.raises(Trouble, match=r"noise.*cannot be read as audio"):
        sound.mel(items[0])


def test_a_checkpoint_knows_the_noise_by_what_it_holds(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"ds_dataset_path": str(tones), "ds_checkpoint_dir": str(tmp_path / "checkpoint"), "ds_epochs": "1"}
    noise = given(tmp_path, overlay="0.5").augment_overlay_source
    assert noise is not None
    places = {"ds_augment_overlay_source": str(noise), "ds_augment_overlay": "0.5"}
    parameters = from_environment({**SMALL, **own, **places})
    items = prepare_sets(parameters, tmp_path)

    def told(parameters: Parameters) -> str:
        train.train(Network(parameters), items["train"][:4], items["dev"], parameters, tmp_path)
        return capsys.readouterr().out

    assert "from the start" not in told(parameters)
    moved = noise.rename(tmp_path / "moved")
    elsewhere = {**places, "ds_augment_overlay_source": str(moved)}
    assert "resuming after epoch 1 of 1" in told(from_environment({**SMALL, **own, **elsewhere}))
    fewer = {**places, "ds_augment_overlay_source": str(moved / "1.wav")}
    assert "the checkpoint differs in noise: training from the start" in told(
        from_environment({**SMALL, **own, **fewer})
    )
    off = {**elsewhere, "ds_augment_overlay": "0"}
    assert "differs in augment_overlay, noise:" in told(from_environment({**SMALL, **own, **off}))


def test_the_job_trains_with_every_variation_and_refuses_bad_noise_before(job: Job, tmp_path: Path) -> None:
    shares = {f"ds_augment_{name}": "0.5" for name in SHARES}
    given(tmp_path)
    wrong = job.run(**shares, ds_augment_overlay_source=str(tmp_path / "nothing"))

    assert wrong.returncode == 1
    [line] = [one for one in wrong.stderr.splitlines() if "nothing" in one]
    assert line.endswith("correct ds_augment_overlay_source")
    assert "epoch 1" not in wrong.stdout

    done = job.run(**shares, ds_augment_overlay_source=str(tmp_path / "noise"))
    assert done.returncode == 0, done.stderr
    recorded = job.record()["parameters"]
    assert recorded["augment_overlay_source"] == ".../noise"
    assert len(recorded["augment_overlay_sha256"]) == 64
    assert recorded["augment_overlay_snr"] == "5:25"


def test_a_converted_recording_is_varied_as_it_is_learnt(tmp_path: Path) -> None:
    stereo = np.repeat(np.random.default_rng(0).normal(0, 500, (44_100, 1)), 2, 1)
    soundfile.write(tmp_path / "stereo.wav", stereo.astype(np.int16), 44_100)
    said = Utterance("stereo", tmp_path / "stereo.wav", "a")
    parameters = replace(given(tmp_path, **ALL), resample=True)
    (item,) = dataset.prepare([said], Alphabet(), parameters.cache_dir / "features", resample=True)
    changed = of_epoch(parameters).mel(item)

    assert changed is not None
    assert changed.shape == np.load(item.mel).shape


@pytest.mark.parametrize(
    ("shares", "learnt"),
    [
        ({}, False),
        ({"overlay": "1", "reverb": "1"}, False),
        ({"codec": "0.1"}, True),
        ({"resample": "0.1"}, True),
        ({"resample": "0.1", "resample_rate": "9000:12000"}, False),
        ({"resample": "0", "resample_rate": "8000"}, False),
        ({"band_limit": "0.1"}, True),
    ],
)
def test_an_export_knows_whether_it_learnt_narrow_band_speech(
    tmp_path: Path, shares: dict[str, str], *, learnt: bool
) -> None:
    assert _learnt_narrow_band(given(tmp_path, **shares)) is learnt


def test_features_for_streams_are_varied_without_another_length(
    tmp_path: Path, items: tuple[dataset.Item, ...]
) -> None:
    parameters = replace(given(tmp_path, **ALL), lookahead=4)
    said = [item.utterance for item in items]
    for item in dataset.prepare(said, Alphabet(), tmp_path / "cache" / "features", is_causal=True):
        changed = of_epoch(parameters).mel(item)

        assert changed is not None
        assert changed.shape == np.load(item.mel).shape
