"""Mixed precision: trainings in 16 bits, on the processor, whose kernels compute in both types, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.kernels import get_registered_kernels_for_op
from test_devices import losses
from test_train import stop_before_epoch
from tone_corpus import SMALL, prepare_sets
from tone_network import learn_and_export

from deepspeech_wer.errors import UsageTrouble
from deepspeech_wer.training import audio, checkpoint, evaluate, train
from deepspeech_wer.training.decoders import greedy_decoder
from deepspeech_wer.training.epochs import Epoch
from deepspeech_wer.training.network import cudnn, mixed
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.transcribe.recogniser import Recogniser

MIXED = "ds_automatic_mixed_precision"
BOTH = ("float16", "bfloat16")
ERROR = {"float16": 0.004, "bfloat16": 0.03}  # of a gradient, relative to its norm, at most
Start = Callable[..., list[tuple[float | None, ...]]]


@pytest.fixture
def start(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Trains on tones with the variables given; returns the numbers of each epoch, [] if it stops before `until`."""

    def run(until: int | None = None, **variables: str) -> list[tuple[float | None, ...]]:
        given = from_environment({**SMALL, "ds_n_hidden": "12", "ds_dataset_path": str(tones), **variables})
        items = prepare_sets(given, tmp_path)
        with monkeypatch.context() as patch:
            if until is not None:
                patch.setattr(train.Trainer, "run_epoch", stop_before_epoch(until, train.Trainer.run_epoch))
            try:
                history: tuple[Epoch, ...] = train.train(Network(given), items["train"], items["dev"], given, tmp_path)
            except KeyboardInterrupt:
                return []
        return [(one.train_loss, one.validation_loss, one.train_wer, one.validation_wer) for one in history]

    return run


def state(directory: Path) -> dict[str, float]:
    """What a checkpoint tells of the loss scale."""
    arrays, _ = checkpoint.load(directory) or ({}, {})
    return {name: float(one) for name, one in arrays.items() if name.startswith(mixed.PREFIX)}


@pytest.mark.parametrize("precision", BOTH)
def test_a_network_learns_as_in_float32_and_its_export_hears_the_same(precision: str, tmp_path: Path) -> None:
    network, parameters = learn_and_export(
        tmp_path, "123456", **{MIXED: precision}
    )  # until no validation error is left
    items = prepare_sets(parameters, tmp_path)["test"]
    tested = evaluate.evaluate(network, items, 4, parameters, [greedy_decoder(parameters.alphabet)])
    exported = Recogniser(tmp_path / "exports" / "latest")

    assert tested.score.wer == 0
    for one in tested.hypotheses:
        assert exported.greedy(exported.logits(audio.read_audio(one.item.utterance.audio))) == one.text
    assert {weight.dtype for weight in network.weights.values()} == {tf.float32}


def small(precision: str, **variables: str) -> Network:
    """A network whose units are neither 0 nor clipped: there, rounding would decide whether they have a gradient."""
    given = {"ds_n_hidden": "16", "ds_dropout_rate": "0.2", MIXED: precision}
    network = Network(from_environment({**given, **variables}))
    for name in ("1", "2", "3", "5"):
        network.weights[f"h{name}"].assign(0.1 * network.weights[f"h{name}"])
        network.weights[f"b{name}"].assign(tf.fill(network.weights[f"b{name}"].shape, 0.5))
    return network


def gradients(network: Network, layer: Any = None) -> tuple[Any, list[Any]]:
    """(logits, gradients) of a training step on noise."""
    rng = np.random.default_rng(0)
    features, upstream = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 20, 26), (20, 3, 29)))
    with tf.GradientTape() as tape:
        logits = network.logits(features, tf.constant([20, 11, 16]), tf.constant([1, 2]), layer)
    return logits, tape.gradient(logits, list(network.weights.values()), output_gradients=upstream)


def operations(network: Network) -> list[Any]:
    """The nodes of a training step's graph."""
    graph = tf.function(lambda: gradients(network)).get_concrete_function().graph.as_graph_def()
    return [*graph.node, *(node for one in graph.library.function for node in one.node_def)]


def distance(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("precision", BOTH)
@pytest.mark.parametrize("kind", [{}, {"ds_lookahead": "4"}, {"ds_frame_stride": "2"}])
def test_gradients_are_those_of_float32_but_for_rounding(precision: str, kind: dict[str, str]) -> None:
    (ours, of_ours), (exact, of_exact) = gradients(small(precision, **kind)), gradients(small("off", **kind))

    assert ours.dtype == tf.float32
    assert 0 < distance(ours, exact) < ERROR[precision]
    for one, other in zip(of_ours, of_exact, strict=True):
        assert one.dtype == tf.float32
        assert distance(one, other) < ERROR[precision]


@pytest.mark.parametrize("precision", BOTH)
@pytest.mark.parametrize("kind", [{}, {"ds_lookahead": "4"}])
def test_the_layer_of_a_gpu_gives_the_same_gradients(precision: str, kind: dict[str, str]) -> None:
    made = cudnn.Forward if kind else cudnn.Bidirectional
    layer = made(32, 16, tf.float32, tf.as_dtype(precision))

    (keras, of_keras), (exact, of_exact) = (gradients(small(one, **kind), layer) for one in (precision, "off"))

    assert 0 < distance(keras, exact) < ERROR[precision]
    for one, other in zip(of_keras, of_exact, strict=True):
        assert distance(one, other) < ERROR[precision]


@pytest.mark.skipif(not tf.test.is_built_with_cuda(), reason="this TensorFlow has no kernels for GPUs")
@pytest.mark.parametrize("precision", BOTH)
@pytest.mark.parametrize("kind", [{}, {"ds_lookahead": "4"}, {"ds_frame_stride": "2"}])
def test_gpus_have_a_kernel_for_each_operation(precision: str, kind: dict[str, str]) -> None:
    wanted = tf.as_dtype(precision).as_datatype_enum
    names = {node.op for node in operations(small(precision, **kind)) if node.attr["T"].type == wanted} | {
        "CudnnRNNV3",
        "CudnnRNNBackpropV3",
    }

    assert {"MatMul", "Conv2D", "Tanh", "Conv2DBackpropFilter"} < names
    for name in names:
        kernels = [one for one in get_registered_kernels_for_op(name).kernel if one.device_type in ("GPU", "DEFAULT")]
        types = [[one.allowed_values.list.type for one in kernel.constraint if one.name == "T"] for kernel in kernels]
        assert any(not one or wanted in one[0] for one in types), name


def test_without_it_a_step_has_no_operation_of_16_bits_and_a_checkpoint_no_scale(start: Start, tmp_path: Path) -> None:
    start(ds_epochs="1", ds_checkpoint_dir=str(tmp_path / "kept"))
    halves = {tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum}

    assert not [node.name for node in operations(small("off")) if {one.type for one in node.attr.values()} & halves]
    assert state(tmp_path / "kept") == {}


def test_a_step_that_overflows_is_skipped_and_the_training_goes_on(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mixed, "FIRST", mixed.MOST)
    numbers = start(ds_checkpoint_dir=str(tmp_path / "kept"), **{MIXED: "1"})

    found = state(tmp_path / "kept")
    assert len(numbers) == 3
    assert np.isfinite([row[:2] for row in numbers]).all()
    assert numbers[2][0] < numbers[0][0]  # type: ignore[operator]
    assert 5 < found["loss_scale.skipped"] < 20
    assert found["loss_scale.scale"] == mixed.MOST / 2 ** found["loss_scale.skipped"]
    assert "steps skipped, whose gradients float16 cannot hold: the loss is now scaled by" in capsys.readouterr().out


def test_the_rule_of_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "FIRST", 4.0)
    monkeypatch.setattr(mixed, "MOST", 8.0)
    monkeypatch.setattr(mixed, "PATIENCE", 2)
    scale = mixed.LossScale(Parameters(automatic_mixed_precision="float16"))
    updates: list[float] = []
    found = []
    for number, value in enumerate([1, 1, 1, 1, np.inf, 1, np.nan, -np.inf, np.inf, 1]):
        gradient = tf.constant([0.5, value]) * scale.scaled(tf.constant(1.0))
        update, kept = scale.judge(scale.unscaled([gradient]), tf.constant(number))
        updates += [float(update)] if kept else []
        found.append(scale.state["loss_scale.scale"].numpy())

    assert found == [4, 8, 8, 8, 4, 4, 2, 1, 1, 1]
    # Adam counts its own updates. What is not finite at the least scale is not for want of range: it diverges.
    assert updates == [1, 2, 3, 4, 5, 6, 7]
    assert scale.skipped() == 3


@pytest.mark.parametrize("precision", BOTH)
def test_a_training_that_diverges_still_does(start: Start, precision: str) -> None:
    with pytest.raises(train.Diverged, match=r"the loss is (nan|inf) in epoch 1, step 1, utterance train/"):
        start(ds_initializer="normal", ds_default_stddev="1e30", **{MIXED: precision})


@pytest.mark.parametrize("precision", BOTH)
def test_a_training_that_was_stopped_ends_with_the_same_digits(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(mixed, "FIRST", mixed.MOST)
    monkeypatch.setattr(mixed, "PATIENCE", 5)  # skips before the stop and after it
    whole, parts = ({MIXED: precision, "ds_checkpoint_dir": str(tmp_path / name)} for name in ("whole", "parts"))
    expected = start(**whole)
    assert start(until=1, **parts) == []
    before = state(tmp_path / "parts")

    assert start(**parts) == expected
    assert state(tmp_path / "parts") == state(tmp_path / "whole")
    if precision == "float16":
        assert 0 < before["loss_scale.skipped"] < state(tmp_path / "parts")["loss_scale.skipped"]


@pytest.mark.parametrize(("one", "other"), [("off", "float16"), ("float16", "off"), ("bfloat16", "float16")])
def test_a_training_goes_on_in_another_precision(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str], one: str, other: str
) -> None:
    place = {"ds_checkpoint_dir": str(tmp_path / "kept"), "ds_epochs": "2"}
    start(until=1, **place, **{MIXED: one})

    numbers = start(**place, **{MIXED: other})

    assert "resuming after epoch 1 of 2" in capsys.readouterr().out
    assert numbers[1][:2] == pytest.approx(start(ds_epochs="2")[1][:2], rel=0.15)
    assert bool(state(tmp_path / "kept")) == (other == "float16")

    start(**place, **{MIXED: one})  # nothing is left to do: a training of its own
    assert "differs in automatic_mixed_precision: training from the start" in capsys.readouterr().out
    start(ds_load_checkpoint_dir=str(tmp_path / "kept"), ds_epochs="1", **{MIXED: other})
    assert "the weights of 6 of 6 layers, after 2 epochs" in capsys.readouterr().out


def test_two_devices_skip_steps_together_and_learn_as_one_does(tones: Path, tmp_path: Path) -> None:
    checkpoints = [str(tmp_path / name) for name in ("one", "two")]
    more = {MIXED: "float16", "ds_export_dir": str(tmp_path / "exports")}
    one_count, one_losses, _ = losses(tones, tmp_path, 0, **more, ds_checkpoint_dir=checkpoints[0])
    two_count, two_losses, _ = losses(tones, tmp_path, 2, **more, ds_checkpoint_dir=checkpoints[1])

    assert (one_count, two_count) == (1, 2)
    assert two_losses == pytest.approx(one_losses, rel=0.03)
    for name in ("one", "two"):  # which step overflows may depend on how a batch is split
        found = state(tmp_path / name)
        assert 0 < found["loss_scale.skipped"] < 8
        assert found["loss_scale.scale"] == mixed.FIRST / 2 ** found["loss_scale.skipped"]


@pytest.mark.parametrize(
    ("capability", "precision", "told"),
    [
        (None, "float16", "float16: there is no GPU here, and on most processors a step takes longer"),
        ((6, 1), "float16", "float16: Tesla has compute capability 6.1: it takes 7.0 to be faster"),
        ((7, 5), "bfloat16", "bfloat16: Tesla has compute capability 7.5: it takes 8.0 to be faster"),
        ((7, 5), "float16", None),
        ((10, 0), "bfloat16", None),
        (None, "off", None),
    ],
)
def test_it_tells_where_nothing_is_gained(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None, precision: str, told: str | None
) -> None:
    details = {"compute_capability": capability, "device_name": "Tesla"}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [SimpleNamespace(name="0")] if capability else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)

    found = mixed.doubt(from_environment({MIXED: precision}))

    assert found is None if told is None else (found or "").startswith(f"ds_automatic_mixed_precision={told}")


@pytest.mark.parametrize(
    ("text", "value"), [("1", "float16"), ("True", "float16"), ("0", "off"), ("off", "off"), ("bfloat16", "bfloat16")]
)
def test_on_means_float16_as_in_deepspeech(text: str, value: str) -> None:
    assert from_environment({MIXED: text}).automatic_mixed_precision == value


def test_another_precision_is_refused() -> None:
    with pytest.raises(UsageTrouble, match="ds_automatic_mixed_precision='fp16': expected 0, 1, float16 or bfloat16"):
        from_environment({MIXED: "fp16"})
