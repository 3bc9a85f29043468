"""Devices that share a batch do what one does. The processor stands in for the GPUs, made into two devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tone_corpus import SMALL

from deepspeech_wer.errors import UsageTrouble
from deepspeech_wer.training.network import devices, model
from deepspeech_wer.training.parameters import from_environment

# A process of its own, because devices are made before TensorFlow starts.
TRAIN = """
import json, sys
from pathlib import Path
from deepspeech_wer.training import parameters as settings, threads
parameters = settings.from_process()
threads.limit(parameters.threads, parameters.devices)
from deepspeech_wer.training import dataset, export, importers
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.train import train
corpus = importers.load(parameters)
work = Path(sys.argv[1])
sets = [dataset.prepare(one, parameters.alphabet, work / "features") for one in (corpus.train, corpus.dev)]
network = Network(parameters)
history = train(network, *sets, parameters, work)
losses = [loss for one in history for loss in (one.train_loss, one.validation_loss)]
rates = [rate for one in history for rate in (one.train_wer, one.validation_wer)]
export.export(network, sets[1], parameters, "a" * 40)  # raises if the export differs from the network
print(json.dumps([network.strategy.num_replicas_in_sync, losses, rates]))
"""


def losses(tones: Path, work: Path, count: int, **more: str) -> tuple[int, list[float], list[float]]:
    """(devices, losses and WERs of each epoch) of a training; 17 utterances by 4: the last batch has one."""
    own = {"ds_devices": str(count), "ds_limit_train": "17", "ds_train_batch_size": "4", "ds_dropout_rate": "0.3"}
    environment = {**os.environ, **SMALL, **own, **more, "ds_dataset_path": str(tones), "ds_epochs": "2"}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(work)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    count, of_epochs, rates = json.loads(done.stdout.splitlines()[-1])
    return count, of_epochs, rates


def test_two_devices_train_as_one_does_and_their_network_is_exported(tones: Path, tmp_path: Path) -> None:
    one_count, one_losses, one_rates = losses(tones, tmp_path, 0)
    two_count, two_losses, two_rates = losses(tones, tmp_path, 2, ds_export_dir=str(tmp_path / "exports"))

    assert (one_count, two_count) == (1, 2)
    assert two_losses == pytest.approx(one_losses, rel=1e-5)
    assert two_rates == one_rates
    assert (tmp_path / "exports" / "latest" / "model.tflite").is_file()


@pytest.mark.parametrize(
    ("threads", "count", "gpus", "in_turn"), [(1, 1, 0, 1), (2, 1, 0, 0), (1, 2, 0, 0), (1, 1, 1, 0)]
)
def test_operations_run_in_sequence_only_with_one_thread_and_one_device(
    threads: int, count: int, gpus: int, in_turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind] * gpus)
    strategy = SimpleNamespace(num_replicas_in_sync=count)

    assert devices.executor(strategy, threads) == ("SINGLE_THREADED_EXECUTOR" if in_turn else "")


def test_shards_contain_each_utterance_once() -> None:
    lengths = tf.constant([5, 4, 3])
    places = tf.constant([[0, 0], [0, 1], [1, 0], [2, 0], [2, 1]], tf.int64)
    values = tf.constant([7, 0, 8, 9, 9])
    batch = (tf.zeros((3, 6, 26)), lengths, places, values, tf.constant([3, 2], tf.int64))

    first, of_first = devices.shard(batch, 0, 2)
    second, of_second = devices.shard(batch, 1, 2)

    assert first[1].numpy().tolist() == [5, 3]
    assert first[2].numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert first[3].numpy().tolist() == [7, 0, 9, 9]
    assert of_first.is_own.numpy().tolist() == [True, True]
    assert second[1].numpy().tolist() == [4, 5]
    assert of_second.is_own.numpy().tolist() == [True, False]
    assert [list(devices.rows(number, 2, 3)) for number in range(2)] == [[0, 2], [1]]


def test_losses_of_shares_are_put_at_the_places_of_their_utterances() -> None:
    share = devices.Share(tf.constant([1, 0]), tf.constant([True, False]), tf.constant(3))

    assert devices.spread(tf.constant([7.0, np.inf]), share, 4).numpy().tolist() == [0, 7, 0, 0]


def test_a_share_of_a_batch_drops_what_the_whole_batch_drops() -> None:
    network = model.Network(from_environment({"ds_n_hidden": "8", "ds_dropout_rate": "0.5"}))
    features, lengths = np.random.default_rng(1).normal(size=(3, 8, 26)).astype(np.float32), np.array([8, 5, 7])
    share = devices.Share(tf.constant([2, 0]), tf.constant([True, True]), tf.constant(3))

    whole = network.logits(features, tf.constant(lengths, tf.int32), tf.constant([1, 2]))
    own = network.logits(features[[2, 0]], tf.constant(lengths[[2, 0]], tf.int32), tf.constant([1, 2]), share=share)

    assert np.allclose(own, whole.numpy()[:, [2, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("devices_count", "batch", "workers_count", "told"),
    [
        (1, 1, 2, "ds_train_batch_size=1: expected at least 2, an utterance for each device, 1 in each of 2 workers"),
        (2, 3, 2, "ds_train_batch_size=3: expected at least 4, an utterance for each device, 2 in each of 2 workers"),
        (3, 2, 1, "ds_train_batch_size=2: expected at least 3, an utterance for each device: raise it"),
        (0, 2, 3, "ds_train_batch_size=2: expected at least 3, "),
    ],
)
def test_a_batch_with_fewer_utterances_than_devices_is_refused(
    devices_count: int, batch: int, workers_count: int, told: str
) -> None:
    given = from_environment({"ds_devices": str(devices_count), "ds_train_batch_size": str(batch)})
    with pytest.raises(UsageTrouble, match=told):
        devices.check(given, 4, workers_count)


def test_more_devices_than_there_are_is_refused() -> None:
    with pytest.raises(UsageTrouble, match="ds_devices=99: expected at most"):
        model.Network(from_environment({"ds_devices": "99"}))
