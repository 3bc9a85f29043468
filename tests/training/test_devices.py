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
from deepspeech_wer.training import devices, model
from deepspeech_wer.training.parameters import from_environment

# A process of its own, because devices are made before TensorFlow starts.
TRAIN = """
import json, sys
from pathlib import Path
from deepspeech_wer.training import parameters as settings, threads
parameters = settings.from_process()
threads.limit(parameters.threads, parameters.devices)
from deepspeech_wer.training import dataset, importers
from deepspeech_wer.training.model import Network
from deepspeech_wer.training.train import train
corpus = importers.load(parameters)
work = Path(sys.argv[1])
sets = [dataset.prepare(one, parameters.alphabet, work / "features") for one in (corpus.train, corpus.dev)]
network = Network(parameters)
history = train(network, *sets, parameters, work)
print(json.dumps([network.strategy.num_replicas_in_sync, [one.train_loss for one in history], history[-1].train_wer]))
"""


def losses(tones: Path, work: Path, count: int) -> tuple[int, list[float], float]:
    """(devices, loss of each epoch, last train WER) of a training; 17 utterances by 4: the last batch has one."""
    own = {"ds_devices": str(count), "ds_limit_train": "17", "ds_train_batch_size": "4", "ds_dropout_rate": "0"}
    environment = {**os.environ, **SMALL, **own, "ds_dataset_path": str(tones), "ds_epochs": "2"}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(work)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    count, of_epochs, rate = json.loads(done.stdout.splitlines()[-1])
    return count, of_epochs, rate


def test_two_devices_train_as_one_does(tones: Path, tmp_path: Path) -> None:
    one_count, one_losses, one_rate = losses(tones, tmp_path, 0)
    two_count, two_losses, two_rate = losses(tones, tmp_path, 2)

    assert (one_count, two_count) == (1, 2)
    assert two_losses == pytest.approx(one_losses, rel=1e-4)
    assert two_rate == one_rate


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

    first, first_weights = devices.shard(batch, 0, 2)
    second, second_weights = devices.shard(batch, 1, 2)

    assert first[1].numpy().tolist() == [5, 3]
    assert first[2].numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert first[3].numpy().tolist() == [7, 0, 9, 9]
    assert first_weights.numpy().tolist() == [1, 1]
    assert second[1].numpy().tolist() == [4, 5]
    assert second_weights.numpy().tolist() == [1, 0]
    assert devices.merge([first[1], second[1]], 0, 3).numpy().tolist() == [5, 4, 3]


def test_results_of_shards_are_merged_in_the_order_of_the_batch() -> None:
    whole = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    shares = [tf.constant(whole[:, [0, 2]]), tf.constant(whole[:, [1, 0]])]

    assert np.array_equal(devices.merge(shares, 1, 3), whole)


def test_more_devices_than_there_are_is_refused() -> None:
    with pytest.raises(UsageTrouble, match="ds_devices=99: expected at most"):
        model.Network(from_environment({"ds_devices": "99"}))
