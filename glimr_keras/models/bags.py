"""Bags of any size: the data of multiple-instance learning. Keras; runs in driver and worker."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from glimr_keras._utils.checks import checked_count
from glimr_keras.errors import DataError
from glimr_keras.models import bag_memory, samples

BAG, MASK = "bag", "mask"
"""The names of a model's inputs."""

LARGEST = "largest"
_FIRST_SIZE = 8


class Bags(keras.utils.PyDataset):
    """Bags of any size, such as the tiles of each patient's slides, with labels.

    It is a `keras.utils.PyDataset`: `fit`, `evaluate`, `predict`, `search` and `validation_data`
    take it on every backend. A model receives `{"bag": …, "mask": …}`, shapes (batch, tiles,
    features) and (batch, tiles). These are the bags of a batch, padded with zeros, and `True` for
    each tile. The batch is padded to its largest bag, rounded up to one of 8, 12, 16, 24, 32 and
    so on. Graphs are therefore compiled for few shapes. Padding has no effect on a model that uses
    the mask, as `glimr_keras.layers.GatedAttentionPooling` does.

    Bags stay as given, also memory-mapped or in float16, until they are put into a batch. In a
    search, they are in shared memory once. `cv_folds` splits by bag, and `groups` has an entry for
    each bag. The training part is reshuffled in each epoch, unless `shuffle=False`. Elsewhere bags
    keep their order, except in Keras' `fit`, which shuffles batches.

    Args:
        bags: An array for each bag, shape (tiles, features) or (tiles, …); only the number of tiles
            may differ.
        y: Labels, one for each bag on the first axis: an array, or a dict with an array for each
            output. `None` in the dict marks an output that is not a task, such as attention
            weights. Defaults to `None`: no labels.
        sample_weight: Sample weights, in the same form. Defaults to `None`: no weights.
        inputs: Further inputs of the model by name, with a row for each bag. Defaults to `None`: no
            further inputs.
        batch_size: The number of bags in a batch. Defaults to `8`.
        pad_to: The number of tiles to which each batch is padded, or `"largest"` for the size of
            the largest bag, so that there is one shape. `predict` needs it for outputs with an
            entry for each tile. Defaults to `None`, which means the largest bag of each batch,
            rounded up.
        **kwargs: Arguments of `keras.utils.PyDataset`, such as `workers`.

    Attributes:
        bags, y, sample_weight, inputs, batch_size, pad_to: The arguments, with labels, weights and
            inputs as arrays.
        sizes: The number of tiles of each bag, shape (bags,), int.
        num_bags: The number of bags.

    Raises:
        DataError: If there are no bags, or one is empty or not an array of numbers. Also if bags
            differ in more than the number of tiles, or if the number of labels, weights or inputs
            differs.
        ValueError: If `batch_size` is not a count, or a bag is larger than `pad_to`.

    Example:
        bags = gk.Bags(features, {"grade": grade, "survival": target}, batch_size=16)
        tuner = gk.RayTuner(build, "val_loss", max_trials=30, cv_folds=5)
        tuner.search(bags, groups=patients, epochs=20)
    """

    def __init__(
        self,
        bags: Sequence[Any],
        y: Any = None,
        sample_weight: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        batch_size: int = 8,
        pad_to: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._options = dict(kwargs)
        self.bags: list[Any] = [_checked(bag, place) for place, bag in enumerate(bags)]
        self.sizes = np.array([bag.shape[0] for bag in self.bags], int)
        self.y, self.sample_weight = _arrays(y), _arrays(sample_weight)
        self.inputs = _arrays(dict(inputs or {}))
        self.batch_size = checked_count("batch_size", batch_size)
        self.pad_to = pad_to
        self._check()
        self._dtype = _floats(np.result_type(*{bag.dtype for bag in self.bags}))
        self._seed: int | None = None
        self._epoch = 0
        self._order = np.arange(self.num_bags)

    @property
    def num_bags(self) -> int:
        return len(self.bags)

    @property
    def num_batches(self) -> int:
        """Return the number of batches; the last may be smaller."""
        return math.ceil(self.num_bags / self.batch_size)

    def __len__(self) -> int:
        """Return the number of batches, as every `PyDataset` does."""
        return self.num_batches

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield each batch once."""
        return (self[index] for index in range(self.num_batches))

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return a batch: `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
        chosen = self._of_batch(index)
        tiles = self._padded(index)
        first = self.bags[chosen[0]]
        bag = np.zeros((len(chosen), tiles, *first.shape[1:]), self._dtype)
        for place, number in enumerate(chosen):
            bag[place, : self.sizes[number]] = self.bags[number][:]
        mask = np.arange(tiles) < self.sizes[chosen, None]
        x = {BAG: bag, MASK: mask, **_rows(self.inputs, chosen)}
        if self.y is None:
            return (x,)
        batch = (x, _rows(self.y, chosen, 0.0))
        weight = self.sample_weight
        return batch if weight is None else (*batch, _rows(weight, chosen, 1.0))

    def on_epoch_end(self) -> None:
        """Shuffle the bags, if they are `shuffled`."""
        self._epoch += 1
        self._shuffle()

    def replace(self, **changes: Any) -> Bags:
        """Return the same bags with other constructor arguments, such as `batch_size=4`."""
        given = {
            "bags": self.bags,
            "y": self.y,
            "sample_weight": self.sample_weight,
            "inputs": self.inputs,
            "batch_size": self.batch_size,
            "pad_to": self.pad_to,
            **self._options,
        }
        found = type(self)(**{**given, **changes})
        found._seed = self._seed
        found._shuffle()
        return found

    def taken(self, chosen: Any) -> Bags:
        """Return some of the bags, with their labels, without copying the bags.

        Args:
            chosen: Their positions, or a boolean for each bag.
        """
        places = np.arange(self.num_bags)[chosen]
        return self.replace(
            bags=[self.bags[place] for place in places],
            y=_rows(self.y, places),
            sample_weight=_rows(self.sample_weight, places),
            inputs=_rows(self.inputs, places),
            pad_to=self._largest() if self.pad_to == LARGEST else self.pad_to,
        )

    def shuffled(self, seed: int) -> Bags:
        """Return the same bags, reshuffled in each epoch under `seed`.

        Args:
            seed: The seed of the order.
        """
        found = self.replace()
        found._seed = int(seed)
        found._shuffle()
        return found

    def unpadded(self, values: Any) -> list[np.ndarray]:
        """Return a model's predictions for each tile, such as attention weights, by bag.

        Args:
            values: Shape (bags, tiles, …), in the order of the bags, as `predict` returns it with
                `pad_to="largest"`.

        Returns:
            An array for each bag, shape (tiles of the bag, …).

        Raises:
            ValueError: If `values` has another number of bags, or too few tiles.
        """
        values = np.asarray(values)
        if values.ndim < 2 or len(values) != self.num_bags or values.shape[1] < self._largest():
            raise ValueError(
                f"`values` must have shape ({self.num_bags}, tiles, …) with at least "
                f"{self._largest()} tiles. Received: shape {values.shape}"
            )
        return [row[:size] for row, size in zip(values, self.sizes, strict=True)]

    def _of_batch(self, index: int) -> np.ndarray:
        if not 0 <= index < self.num_batches:
            raise IndexError(f"There are {self.num_batches} batches. Received: index {index}")
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]

    def _padded(self, index: int) -> int:
        """Return the number of tiles in a batch.

        TensorFlow fixes the size of an axis if the first two batches have the same one. So these
        differ, unless all batches are of one size.
        """
        if self.pad_to is not None:
            return self._largest() if self.pad_to == LARGEST else int(self.pad_to)
        size = rounded(int(self.sizes[self._of_batch(index)].max()))
        if index == 1 and keras.backend.backend() == "tensorflow":
            is_varied = rounded(int(self.sizes.min())) != rounded(self._largest())
            return rounded(size + 1) if is_varied and size == self._padded(0) else size
        return size

    def _largest(self) -> int:
        return int(self.sizes.max())

    def _shuffle(self) -> None:
        if self._seed is not None:
            random = np.random.default_rng([self._seed, self._epoch])
            self._order = random.permutation(self.num_bags)

    def _check(self) -> None:
        if not self.bags:
            raise DataError("`bags` must have at least one bag. Received: none")
        kinds = {tuple(bag.shape[1:]) for bag in self.bags}
        if len(kinds) > 1:
            raise DataError(
                "Bags may differ in tiles only, their first axis. Received: tiles of the shapes "
                f"{', '.join(map(str, sorted(kinds)[:10]))}"
            )
        if not self.sizes.all():
            empty = np.flatnonzero(self.sizes == 0).tolist()
            raise DataError(
                f"Each bag must have at least one tile. Received: {len(empty)} empty bags, at "
                f"{empty[:10]}"
            )
        if self.y is None and self.sample_weight is not None:
            raise DataError("`sample_weight` needs labels. Received: y=None")
        self._check_names()
        for name in ("y", "sample_weight", "inputs"):
            for leaf in samples.leaves(getattr(self, name)):
                if not leaf.ndim or len(leaf) != self.num_bags:
                    raise DataError(
                        f"`{name}` must have an entry for each of {self.num_bags} bags. Received: "
                        f"an array of shape {leaf.shape}"
                    )
        if self.pad_to in (None, LARGEST):
            return
        if checked_count("pad_to", self.pad_to) < self._largest():
            raise ValueError(
                f"`pad_to` must be {LARGEST!r} or at least the tiles of the largest bag, "
                f"{self._largest()}. Received: pad_to={self.pad_to!r}"
            )

    def _check_names(self) -> None:
        taken = sorted({BAG, MASK} & set(self.inputs))
        if taken:
            raise DataError(f"`inputs` must have other names than the bag's. Received: {taken}")
        if isinstance(self.y, Mapping) and all(part is None for part in self.y.values()):
            raise DataError(f"`y` must have labels of a task. Received: {self.y!r}")

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle.

        Small bags are in one large array, and parts of a mapped file stay parts of it.
        """
        self.bags = bag_memory.joined(self.bags)
        return {**vars(self), "bags": bag_memory.apart(self.bags)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.bags = bag_memory.together(*state["bags"])


def rounded(tiles: int) -> int:
    """Return the padded number of tiles: 8, 12, 16, 24, 32, 48, …"""
    size = _FIRST_SIZE
    while size < tiles:
        if size + size // 2 >= tiles:
            return size + size // 2
        size *= 2
    return size


def bags_hint(x: Any, y: Any = None) -> str:
    """Return a hint to use `Bags`; `""` if the data cannot be bags.

    It is for a list of arrays, or an array of arrays, that differ in their first axis only.

    Args:
        x: The data.
        y: The labels, if any. If there is one label for each array in the list, not for each of
            their rows, arrays of one size are bags too. Defaults to `None`.
    """
    if not isinstance(x, (list, tuple)) and not (
        isinstance(x, np.ndarray) and x.dtype == object and x.ndim == 1
    ):
        return ""
    if len(x) < 2 or not all(samples.has_samples(bag) and len(bag.shape) >= 2 for bag in x):
        return ""
    if len({tuple(bag.shape[1:]) for bag in x}) > 1:
        return ""
    sizes = {samples.count(bag) for bag in x}
    labels = {samples.count(leaf) for leaf in samples.leaves(y) if samples.has_samples(leaf)}
    if len(sizes) == 1 and (labels != {len(x)} or labels == sizes):
        return ""
    return (
        f" Received: a {type(x).__name__} of {len(x)} arrays with {min(sizes)} to {max(sizes)} "
        "rows. If these are bags, one for each sample, give them as `glimr_keras.Bags(x, y)`."
    )


def _checked(bag: Any, place: int) -> Any:
    """Return a bag as an object with NumPy's type, which may be read later."""
    if not isinstance(getattr(bag, "dtype", None), np.dtype) or hasattr(bag, "iloc"):
        bag = np.asarray(bag)
    if len(bag.shape) < 2 or not samples.is_plain(np.dtype(bag.dtype)):
        is_half = bag.dtype.name == "bfloat16"
        if len(bag.shape) < 2 or not is_half:
            raise DataError(
                "A bag must be an array of numbers, shape (tiles, features). Received: at "
                f"{place}, an array of shape {tuple(bag.shape)} and type {bag.dtype}"
            )
    return bag


def _floats(dtype: Any) -> Any:
    """Return the type of a batch: the bags' type, or Keras' float type for double precision."""
    return keras.config.floatx() if dtype == np.float64 else dtype


def _arrays(part: Any) -> Any:
    """Return the structure with each frame or tensor as an array.

    Double precision becomes Keras' float type.
    """

    def array(leaf: Any) -> Any:
        if leaf is None:
            return None
        found = keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else np.asarray(leaf)
        return found.astype(_floats(found.dtype), copy=False)

    return keras.tree.map_structure(array, samples.plain(part))


def _rows(part: Any, chosen: np.ndarray, instead: float | None = None) -> Any:
    """Return the chosen rows of each array in a structure.

    Args:
        instead: The value in a batch in the place of `None`. Defaults to `None`, which keeps
            `None`.
    """

    def rows(leaf: Any) -> Any:
        if leaf is not None:
            return leaf[chosen]
        return None if instead is None else np.full((len(chosen), 1), instead, "float32")

    return keras.tree.map_structure(rows, part)
