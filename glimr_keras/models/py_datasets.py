"""A subset of the batches of a `PyDataset`, for folds. Keras; runs in driver and worker."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class Part(keras.utils.PyDataset):
    """The chosen batches of a dataset.

    Args:
        dataset: The dataset.
        chosen: The numbers of the batches, shape (chosen,), int.
    """

    def __init__(self, dataset: keras.utils.PyDataset, chosen: np.ndarray) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset, self._chosen = dataset, chosen

    def __getitem__(self, index: int) -> Any:
        return self._dataset[int(self._chosen[index])]

    @property
    def num_batches(self) -> int:
        return len(self._chosen)

    def __len__(self) -> int:
        return len(self._chosen)


def mixes(dataset: keras.utils.PyDataset) -> bool:
    """Return whether a batch may have other samples later.

    This is so if the class does something between epochs, or if its first batch differs when read
    twice.
    """
    kind = type(dataset)
    if any(
        getattr(kind, name) is not getattr(keras.utils.PyDataset, name)
        for name in ("on_epoch_begin", "on_epoch_end")
    ):
        return True
    first, second = (keras.tree.flatten(_labels(dataset[0])) for _ in range(2))
    return len(first) != len(second) or not all(map(_are_equal, first, second))


def _labels(batch: Any) -> Any:
    """Return what identifies samples: their labels, since inputs may be augmented."""
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return x if y is None else y


def _are_equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    one, other = (
        np.asarray(keras.ops.convert_to_numpy(part) if keras.ops.is_tensor(part) else part)
        for part in (one, other)
    )
    if one.dtype.kind not in "fc":
        return np.array_equal(one, other)
    return np.array_equal(one, other, equal_nan=True)
