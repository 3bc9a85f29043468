"""Names for types of arrays. The shapes stand where the arrays do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = Any  # tf.Tensor; TensorFlow ships no types
Floats = NDArray[np.float32]
Reals = NDArray[np.floating[Any]]  # of either precision
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]
