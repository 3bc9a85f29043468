"""The training loop. A training resumed from a checkpoint gives the same digits as an uninterrupted one."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ..errors import Trouble
from . import acoustics, checkpoint, patience, transfer
from .acoustics import Acoustics
from .arrays import Floats, Tensor
from .batches import Batch, Most, assemble, batches_of_epoch, steps_until
from .dataset import Item
from .decoders import greedy, greedy_decoder
from .epochs import Epoch
from .evaluate import Diverged, Evaluation, Hypothesis, evaluate, refuse_infinite, score_hypotheses
from .network import ctc, devices, mixed
from .network.devices import Share
from .network.model import BATCH, Network, batch_arrays
from .network.optimizer import Adam, learning_rate
from .parameters import Parameters
from .sound import noises
from .summaries import Summaries

# Parameters that may differ when a checkpoint is resumed. They change no digit of the training, or they only say which
# data it has, which a hash says better. Other threads and devices add in another order: the last digits may change.
# fmt: off
INDIFFERENT = (
    "threads", "devices", "distribute",
    "importer", "limit_train", "limit_dev", "synthetic_train", "synthetic_dev", "synthetic_test",
    "dataset_path", "text", "resample", "mirror_url", "librivox_subsets", "common_voice_archive",
    "cache_dir", "checkpoint_dir", "save_checkpoint_dir", "load_checkpoint_dir", "logs_dir", "export_dir", "keep_best",
    "augment_overlay_source",
    "display_step", "validation_step", "checkpoint_step", "report_count", "log_variables",
    "test_batch_size", "limit_test", "test_sets", "test_set", "decoder", "decoders", "beam_width", "preset",
    "lm_path", "lm_order", "lm_alpha", "lm_beta", "wer_sha", "wer_rerun_of",
)
# fmt: on


MAY_CHANGE = {"epochs", "automatic_mixed_precision"}  # in one training, from an epoch on: they change its digits
SHOWS_S = 75.0  # nfs(5): acdirmax is 60 s


@dataclass(frozen=True)
class Step:
    """What the network made of a batch."""

    losses: Floats  # [B]
    logits: Floats  # [T, b, labels]: of the devices of this host
    rows: Sequence[int]  # [b] which utterances of the batch those are
    norms: Floats  # of the gradients, or one number if they are not logged


def train(
    network: Network, train_items: Sequence[Item], dev_items: Sequence[Item], parameters: Parameters, run_dir: Path
) -> tuple[Epoch, ...]:
    """Train the network in place, resuming from the checkpoint in `checkpoint_dir` if there is one; return its history.

    The network has the weights of the last epoch or, with `keep_best`, of the one with the lowest validation loss.
    Raises Diverged if a loss or a weight is not a finite number, and Trouble for a damaged checkpoint.
    """
    trainer = Trainer(network, train_items, dev_items, parameters, run_dir)
    if told := mixed.doubt(parameters):
        print(told, flush=True)
    history = trainer.restore()
    if not history:
        transfer.take(network.weights, parameters)
    while not patience.is_over(history, parameters):
        history = (*history, trainer.run_epoch(len(history), patience.factor(history, parameters)))
        _print_epoch(history, parameters)
        if parameters.keep_best and patience.best_epoch(history) == len(history):
            trainer.keep_best(history)
        is_last = patience.is_over(history, parameters)
        if is_last or _is_due(parameters.checkpoint_step, len(history), parameters.epochs):
            trainer.save(history)
        if is_last and len(history) < parameters.epochs:
            print(f"no lower validation loss in {parameters.early_stop} epochs: the training ends", flush=True)
    if parameters.keep_best:
        trainer.take_best(history)
    return history


class Trainer:
    """The state of a training: the network's weights, Adam's averages, the summary writer."""

    def __init__(
        self,
        network: Network,
        train_items: Sequence[Item],
        dev_items: Sequence[Item],
        parameters: Parameters,
        run_dir: Path,
    ) -> None:
        self.network, self.parameters = network, parameters
        self.train_items, self.dev_items = train_items, dev_items
        self.alphabet = parameters.alphabet
        with network.strategy.scope():
            self.adam = Adam(network.weights, parameters)
            self.scale = mixed.LossScale(parameters)
        self.workers = network.workers
        self.most = Most(parameters.train_batch_size, parameters.max_seconds)
        self.steps_before = steps_until(train_items, self.most, parameters.random_seed, parameters.epochs)
        self.summaries = Summaries(run_dir) if parameters.log_variables and self.workers.is_chief else None
        self.noises = noises.collect(parameters)
        self.source = transfer.identity(parameters)
        self.workers.agree(self._settings(), "start all workers with the same settings and the same data")
        self.best: dict[str, Floats] = {}  # weights of the best epoch, by name

    def step(self, batch: Batch, rate: float, number: int) -> Step:
        """Do step `number`, from 0, and return what the network made of the batch before it."""
        with tf.experimental.function_executor_type(self.network.executor):
            losses, logits, norms = self._step(batch_arrays(batch), np.float32(rate), np.int32(number))
        strategy, size = self.network.strategy, len(batch.items)
        shards = [one.numpy() for one in strategy.experimental_local_results(logits)]
        if (count := strategy.num_replicas_in_sync) == 1:
            return Step(losses.numpy(), shards[0], range(size), norms.numpy())
        first = len(shards) * self.workers.index
        places = [devices.rows(first + place, count, size) for place in range(len(shards))]
        own = [shard[:, : len(rows)] for shard, rows in zip(shards, places, strict=True)]
        rows = [row for rows in places for row in rows]
        return Step(losses.numpy()[:size], np.concatenate(own, 1), rows, norms.numpy())

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=(BATCH, tf.TensorSpec((), tf.float32), tf.TensorSpec((), tf.int32))
    )
    def _step(self, batch: tuple[Tensor, ...], rate: Tensor, number: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Update the weights; see `step`. The logits are those of each device of this host."""
        strategy = self.network.strategy
        count = strategy.num_replicas_in_sync
        if count == 1:
            return self._update(batch, None, rate, number)

        def on_replica() -> tuple[Tensor, Tensor, Tensor]:
            context = tf.distribute.get_replica_context()
            own, share = devices.shard(batch, context.replica_id_in_sync_group, count)
            return self._update(own, share, rate, number)

        losses, logits, norms = strategy.run(on_replica)
        return strategy.experimental_local_results(losses)[0], logits, strategy.experimental_local_results(norms)[0]

    def _update(
        self, batch: tuple[Tensor, ...], share: Share | None, rate: Tensor, number: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update the weights by this device's share of a batch; see `step`. The losses are those of all shares."""
        weights = self.network.weights
        seed = tf.stack([self.parameters.random_seed, number * 8])  # 8: each layer of a step adds its number
        with tf.GradientTape() as tape:
            features, lengths, *labels = batch
            drop = number >= self.steps_before[min(self.parameters.plain_epochs, self.parameters.epochs)]
            logits = self.network.logits(features, lengths, seed, self.network.lstm, drop=drop, share=share)
            losses = ctc.losses(logits, lengths, *labels)
            if share is None:
                loss = tf.reduce_mean(losses)
            else:
                loss = tf.reduce_sum(tf.where(share.is_own, losses, 0.0)) / tf.cast(share.batch, tf.float32)
            loss = self.scale.scaled(loss)
        found = self.scale.unscaled(tape.gradient(loss, list(weights.values())))
        if share is not None:
            known = devices.spread(losses, share, self.most.utterances)
            context = tf.distribute.get_replica_context()
            *found, losses = context.all_reduce(tf.distribute.ReduceOp.SUM, [*found, known])
        gradients = dict(zip(weights, found, strict=True))
        update, kept = self.scale.judge(found, number)
        self.adam.apply(gradients, rate, update, kept)
        norms = [tf.norm(gradient) for gradient in gradients.values()] if self.summaries else [rate]
        return losses, logits, tf.stack(norms)

    def run_epoch(self, index: int, factor: float = 1.0) -> Epoch:
        """Train on every utterance once and, if it is due, score the validation set; `index` counts from 0.

        The learning rate is the schedule's, times `factor`.
        """
        parameters, number = self.parameters, index + 1
        started, started_cpu = time.perf_counter(), time.process_time()
        display = _is_due(parameters.display_step, number, parameters.epochs)
        losses: list[float] = []
        hypotheses: list[Hypothesis] = []
        norms: Floats = np.zeros(0, np.float32)
        sound, skipped = self._acoustics(index), self.scale.skipped()
        for step, group in self._batches(index):
            batch = assemble(group, parameters, self._augmentation_rng(index, step), sound)
            rate = factor * learning_rate(parameters, step, self.steps_before[parameters.epochs])
            done = self.step(batch, rate, step)
            norms = done.norms
            refuse_infinite(done.losses, group, f"in epoch {number}, step {step + 1}", parameters)
            losses += done.losses.tolist()
            if display:
                texts = greedy(done.logits, batch.lengths[done.rows], self.alphabet)
                heard = (
                    (group[row], text, float(done.losses[row])) for row, text in zip(done.rows, texts, strict=True)
                )
                hypotheses += itertools.starmap(Hypothesis, heard)
        self.scale.tell(number, skipped)
        self._refuse_broken_weights(number)
        validation = self._validate(number)
        spent = self.workers.exchange(
            {"cpu_seconds": time.process_time() - started_cpu, "words": _words(hypotheses) if display else None}
        )
        epoch = Epoch(
            epoch=number,
            train_loss=float(np.mean(losses)),
            train_wer=_wer([one["words"] for one in spent]) if display else None,
            validation_loss=validation.loss if validation else None,
            validation_wer=validation.score.wer if validation else None,
            learning_rate=rate,
            seconds=round(time.perf_counter() - started, 3),
            cpu_seconds=round(sum(one["cpu_seconds"] for one in spent), 3),
        )
        if self.summaries:
            self.summaries.write(epoch, self.network.weights, norms)
        return epoch

    def _augmentation_rng(self, index: int, step: int) -> np.random.Generator | None:
        """Return the rng of a batch's augmentation; None in the plain epochs at the start."""
        if index < self.parameters.plain_epochs:
            return None
        return np.random.default_rng([self.parameters.random_seed, index, step])

    def _acoustics(self, index: int) -> Acoustics | None:
        """Return the variations of the sound in an epoch; None in the plain epochs at the start."""
        if index < self.parameters.plain_epochs or not acoustics.is_on(self.parameters):
            return None
        return Acoustics(self.parameters, self.noises, index)

    def _batches(self, index: int) -> Iterator[tuple[int, list[Item]]]:
        """Yield (number of the step from 0, its items) of one epoch, with a progress bar on a terminal."""
        parameters = self.parameters
        groups = batches_of_epoch(self.train_items, self.most, parameters.random_seed, index)
        bar = tqdm(
            groups,
            desc=f"epoch {index + 1}/{parameters.epochs}",
            unit="step",
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        yield from enumerate(bar, self.steps_before[index])

    def _refuse_broken_weights(self, number: int) -> None:
        """Raise Diverged for weights that are not finite: after the last step of an epoch, no loss shows that yet."""
        for name, weight in self.network.weights.items():
            if not np.isfinite(weight.numpy()).all():
                raise Diverged(
                    f"the weights {name} are no finite numbers after epoch {number}: "
                    f"lower ds_learning_rate (now {self.parameters.learning_rate:g})"
                )

    def _validate(self, number: int) -> Evaluation | None:
        parameters = self.parameters
        if not _is_due(parameters.validation_step, number, parameters.epochs):
            return None
        decoders = [greedy_decoder(self.alphabet)]
        return evaluate(self.network, self.dev_items, parameters.dev_batch_size, parameters, decoders, self.workers)

    def save(self, history: tuple[Epoch, ...]) -> None:
        """Write the checkpoint if `checkpoint_dir` is set. Batches and dropout follow from the seed: no state."""
        if self.parameters.kept_in is not None and self.workers.is_chief:
            self._save(self.parameters.kept_in, history, checkpoint.NAME)

    def _save(self, directory: Path, history: tuple[Epoch, ...], name: str) -> None:
        meta = {"settings": self._settings(), "history": [asdict(epoch) for epoch in history]}
        arrays = {name: one.numpy() for name, one in self._state().items()}
        checkpoint.save(directory, arrays, meta, name)

    def keep_best(self, history: tuple[Epoch, ...]) -> None:
        """Keep the weights of the epoch just done, the best so far."""
        self.best = {name: one.numpy() for name, one in self.network.weights.items()}
        if self.parameters.kept_in is not None and self.workers.is_chief:
            self._save(self.parameters.kept_in, history, checkpoint.BEST)

    def take_best(self, history: tuple[Epoch, ...]) -> None:
        """Give the network the weights of the best epoch. Raises Trouble if they were not kept."""
        best = patience.best_epoch(history)
        if not self.best and best is not None and self.parameters.kept_in is not None:
            found = checkpoint.load(self.parameters.kept_in, checkpoint.BEST)
            if found and len(found[1]["history"]) == best and self._differing(found[1]) <= MAY_CHANGE:
                prefix = transfer.PREFIX
                self.best = {n.removeprefix(prefix): one for n, one in found[0].items() if n.startswith(prefix)}
        if not self.best or best is None:
            print(f"the weights of epoch {best}, the best, were not kept: the last ones are tested", flush=True)
            return
        for name, weight in self.network.weights.items():
            weight.assign(self.best[name])
        print(f"epoch {best} has the lowest validation loss: it is tested", flush=True)

    def _differing(self, meta: dict[str, Any]) -> set[str]:
        """Return which settings differ from those of a checkpoint. An earlier version had fewer of them."""
        before = {**_settings_of(Parameters()), "source": None, "noise": None, **meta["settings"]}
        return {name for name, value in self._settings().items() if before.get(name) != value}

    def restore(self) -> tuple[Epoch, ...]:
        """Restore the checkpoint if there is one of the same training; return its history, else ().

        It goes on, too, if nothing differs but that more epochs are asked for; each of them then has the learning rate
        of the longer training. So it does in another precision, if there is an epoch to do. The checkpoint of another
        training is kept beside the new one.
        """
        directory = self.parameters.kept_in
        found = self._load(directory) if directory else None
        if directory is None or found is None:
            return ()
        arrays, meta = found
        differing = self._differing(meta)
        if differing and not self._goes_on(meta, differing):
            if self.workers.is_chief:
                aside = checkpoint.set_aside(directory)
                print(
                    f"{directory}: the checkpoint differs in {', '.join(sorted(differing))}: training from the start; "
                    f"it is kept as {aside}",
                    flush=True,
                )
            return ()
        state, arrays = self._state(), self.scale.fitted(arrays)
        if {name: array.shape for name, array in arrays.items()} != {name: one.shape for name, one in state.items()}:
            raise Trouble(f"{directory}: its checkpoint holds other arrays: {checkpoint.CURE}")
        for name, one in state.items():
            one.assign(arrays[name])
        history = _history(meta)
        print(f"{directory}: resuming after epoch {len(history)} of {self.parameters.epochs}", flush=True)
        return history

    def _goes_on(self, meta: dict[str, Any], differing: set[str]) -> bool:
        """Whether a checkpoint that differs so is of this training all the same, and has an epoch to do."""
        if "epochs" in differing and self.parameters.epochs <= meta["settings"]["epochs"]:
            return False
        return differing <= MAY_CHANGE and (
            "epochs" in differing or not patience.is_over(_history(meta), self.parameters)
        )

    def _load(self, directory: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the checkpoint, if there is one, once this worker sees the chief's: NFS shows new files after a while.

        Raises UsageTrouble if a worker sees another one.
        """
        found = checkpoint.load(directory)
        if self.workers.count == 1:
            return found  # no need to hash it
        (theirs, *_) = self.workers.exchange(checkpoint.identity(found))
        deadline = time.monotonic() + SHOWS_S
        while checkpoint.identity(found) != theirs and time.monotonic() < deadline:
            time.sleep(1)
            found = checkpoint.load(directory)
        self.workers.agree({"the checkpoint": checkpoint.identity(found)}, "the workers must share ds_checkpoint_dir")
        return found

    def _state(self) -> dict[str, Any]:
        parts = {"weights": self.network.weights, "means": self.adam.means, "squares": self.adam.squares}
        named = {f"{part}.{name}": one for part, variables in parts.items() for name, one in variables.items()}
        return named | self.scale.state

    def _settings(self) -> dict[str, Any]:
        """Return everything that decides the numbers of this training, as read back from JSON."""
        settings = {**_settings_of(self.parameters), "source": self.source, "noise": self.noises.identity}
        sets = {"training data": self.train_items, "validation data": self.dev_items}
        for name, items in sets.items():
            # The name of a mel file contains the hash of its audio.
            lines = [f"{item.mel.name} {item.utterance.transcript}" for item in items]
            settings[name] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        return settings


def _history(meta: dict[str, Any]) -> tuple[Epoch, ...]:
    return tuple(Epoch(**line) for line in meta["history"])


def _words(hypotheses: Sequence[Hypothesis]) -> tuple[int, int]:
    """Return the word errors of hypotheses, and the words of their references."""
    words = score_hypotheses(hypotheses).words
    return words.errors, words.reference


def _wer(counts: Sequence[Sequence[int]]) -> float | None:
    errors, words = (sum(one) for one in zip(*counts, strict=True))
    return errors / words if words else None


def _settings_of(parameters: Parameters) -> dict[str, Any]:
    """Return the parameters that a checkpoint must share to be resumed, as read back from JSON."""
    settings = {name: value for name, value in asdict(parameters).items() if name not in INDIFFERENT}
    return dict(json.loads(json.dumps(settings, default=str)))


def _is_due(every: int, number: int, last: int) -> bool:
    """Whether something done every `every` epochs and after the last is due after epoch `number`; 0: never."""
    return bool(every) and (number % every == 0 or number == last)


def _print_epoch(history: tuple[Epoch, ...], parameters: Parameters) -> None:
    epoch = history[-1]
    parts = [f"epoch {epoch.epoch}/{parameters.epochs}", f"train loss {epoch.train_loss:.4f}"]
    if epoch.train_wer is not None:
        parts.append(f"train WER {epoch.train_wer:.2%}")
    if epoch.validation_loss is not None:
        parts.append(f"validation loss {epoch.validation_loss:.4f}")
    if epoch.validation_wer is not None:
        parts.append(f"validation WER {epoch.validation_wer:.2%}")
    parts.append(f"{epoch.cpu_seconds:.1f} CPU-s")
    if not patience.is_over(history, parameters):
        parts.append(f"{patience.told(patience.seconds_to_go(history, parameters))} to go")
    print(", ".join(parts), flush=True)
