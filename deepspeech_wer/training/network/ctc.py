"""The CTC loss and its gradient (Graves et al. 2006), for all utterances of a batch and both directions at once.

TensorFlow's kernel computes one logarithm and one exponential per state, which is a sixth of a training step at
n_cell_dim 64. Here each frame takes a dozen numpy calls over all states of all utterances: half the time. Like the
kernel, it computes in logarithms throughout, so no path underflows.

Shapes: T frames, B utterances, C characters with the blank last. A label of L letters has 2L + 1 states: blank, first
letter, blank, ..., blank. W columns are PAD empty ones and the states of the longest label: thanks to the empty ones,
two states back from an utterance's first state is never another utterance's state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..arrays import Floats, Tensor

Numbers = NDArray[np.integer[Any]]
NEVER = np.float32(-1e30)  # logarithm of probability 0; differences of -inf would be NaN
PAD = 2
MOST_CELLS = 1 << 24  # numbers in one array: 64 MB, three of which exist at a time


@tf.custom_gradient  # type: ignore[untyped-decorator]
def losses(logits: Tensor, lengths: Tensor, places: Tensor, values: Tensor, shape: Tensor) -> tuple[Tensor, Any]:
    """Return the [B] CTC losses of [T, B, C] logits, in nats; labels are sparse, as in model.BATCH.

    The loss is inf for an utterance with fewer frames than its label needs, and nan where its logits are not finite.
    """
    given = (logits, lengths, places, values, shape)
    found, of_logits = tf.numpy_function(with_gradient, given, (tf.float32, tf.float32), stateful=False)
    found.set_shape(logits.shape[1:2])
    of_logits.set_shape(logits.shape)
    return found, lambda upstream: (upstream[:, tf.newaxis] * of_logits, None, None, None, None)


def with_gradient(
    logits: Floats, lengths: Numbers, places: Numbers, values: Numbers, shape: Numbers
) -> tuple[Floats, Floats]:
    """Return ([B] losses, [T, B, C] gradient of each loss with respect to the logits).

    Long utterances are computed a few at a time: half a minute of speech has a thousand states in each of 1,500 frames.
    """
    letters, counts = _states(places, values, shape, logits.shape[2] - 1)
    size = max(1, MOST_CELLS // (2 * len(logits) * letters.shape[1]))  # utterances at a time
    found = np.empty(len(lengths), np.float32)
    gradient = np.empty_like(logits)
    for start in range(0, len(lengths), size):
        part = slice(start, start + size)
        found[part], gradient[:, part] = _of_some(logits[:, part], lengths[part], letters[part], counts[part])
    return found, gradient


@np.errstate(invalid="ignore")  # the training reports a loss that is no number, with its utterance
def _of_some(logits: Floats, lengths: Numbers, letters: Numbers, counts: Numbers) -> tuple[Floats, Floats]:
    """`with_gradient` for the states `letters` [B, W], of which the first `counts` [B] are in use."""
    frames, batch, characters = logits.shape
    scores = logits - logits.max(2, keepdims=True)
    scores -= np.log(np.exp(scores).sum(2, keepdims=True))
    broken = ~np.isfinite(scores.sum((0, 2)))  # [B]; else their NaNs would spread to other utterances
    scores[:, broken] = 0
    # Backwards, each utterance starts at its own last frame and state; the recursion is then the forward one.
    times = np.arange(frames)[:, np.newaxis]  # [T, 1]
    reversed_times = np.where(times < lengths, lengths - 1 - times, times)  # [T, B]
    columns = np.arange(letters.shape[1])
    mirrored = 2 * PAD + counts[:, np.newaxis] - 1 - columns  # [B, W]
    mirrored[(columns < PAD) | (mirrored < PAD)] = 0
    both = np.concatenate([letters, np.take_along_axis(letters, mirrored, 1)])  # [2B, W]
    emitted = _picked(np.concatenate([scores, scores[reversed_times, np.arange(batch)]], 1), both)
    emitted[:, :, :PAD] = NEVER
    reached = _reached(emitted, _skips(both, characters - 1))  # [T, 2B, W]
    forwards, backwards = reached[:, :batch], _picked(reached[reversed_times, batch + np.arange(batch)], mirrored)
    ends = forwards[lengths - 1, np.arange(batch)]  # [B, W]
    ends = np.take_along_axis(ends, PAD + counts[:, np.newaxis] - np.array([1, 2]), 1)  # last blank, last letter
    total = np.logaddexp(ends[:, 0], ends[:, 1])
    possible = total > NEVER / 2
    # Both directions include the frame's own score.
    through = forwards + backwards
    through -= emitted[:, :batch]
    through -= np.where(possible, total, 0)[:, np.newaxis]
    np.exp(through, out=through)  # [T, B, W] posterior probability of each state
    as_characters = (letters[:, :, np.newaxis] == np.arange(characters)).astype(np.float32)  # [B, W, C]
    gradient = np.exp(scores) - np.matmul(through.transpose(1, 0, 2), as_characters).transpose(1, 0, 2)
    gradient *= (times < lengths)[:, :, np.newaxis]
    found = np.where(possible, -total, np.float32(np.inf))
    found[broken] = np.nan
    return found, gradient


def _states(places: Numbers, values: Numbers, shape: Numbers, blank: int) -> tuple[Numbers, Numbers]:
    """Return ([B, W] character of each state, [B] number of states); columns not in use are blanks."""
    batch, longest = shape
    letters = np.full((batch, PAD + 2 * longest + 1), blank)
    letters[places[:, 0], PAD + 1 + 2 * places[:, 1]] = values
    return letters, 1 + 2 * np.bincount(places[:, 0], minlength=batch)


def _skips(letters: Numbers, blank: int) -> Floats:
    """Return [N, W]: 0 where a state may follow the one two back, a letter after a different letter; else NEVER."""
    skips = np.full(letters.shape, NEVER)
    skips[:, PAD:][(letters[:, PAD:] != blank) & (letters[:, PAD:] != letters[:, :-PAD])] = 0
    return skips


def _picked(values: Floats, which: Numbers) -> Floats:
    """Return [T, N, W], the [T, N, K] values at `which` [N, W]: take_along_axis, five times as fast."""
    frames, count, size = values.shape
    flat = which + size * np.arange(count)[:, np.newaxis]
    picked: Floats = values.reshape(frames, -1).take(flat.reshape(-1), axis=1)
    return picked.reshape(frames, *which.shape)


def _reached(emitted: Floats, skips: Floats) -> Floats:
    """Return [T, N, W] forward variables: log probabilities of all paths into a state, this frame's score included."""
    frames, count, width = emitted.shape
    reached = np.full((frames, count * width), NEVER)
    reached[0].reshape(count, width)[:, PAD : PAD + 2] = emitted[0, :, PAD : PAD + 2]
    scores, skip = emitted.reshape(frames, -1)[:, PAD:], skips.reshape(-1)[PAD:]
    ways, most = np.empty((3, len(skip)), np.float32), np.empty(len(skip), np.float32)
    for time in range(1, frames):
        before, now = reached[time - 1], reached[time, PAD:]
        here, one_back, two_back = before[PAD:], before[1:-1], ways[2]
        np.add(before[:-PAD], skip, out=two_back)
        np.maximum(here, one_back, out=most)
        np.maximum(most, two_back, out=most)
        np.subtract(here, most, out=ways[0])
        np.subtract(one_back, most, out=ways[1])
        np.subtract(two_back, most, out=two_back)
        np.exp(ways, out=ways)
        np.add(ways[0], ways[1], out=now)
        np.add(now, two_back, out=now)
        np.log(now, out=now)
        np.add(now, most, out=now)
        np.add(now, scores[time], out=now)
    return reached.reshape(frames, count, width)
