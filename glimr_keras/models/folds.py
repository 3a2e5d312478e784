"""Cross validation: split the data of `search()` into folds.

Folds are made in the driver; the data is split in the worker.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import keras
import numpy as np

from glimr_keras.models import data, py_datasets, samples, tf_datasets
from glimr_keras.models.bags import Bags, bags_hint
from glimr_keras.models.data import FitArguments

_EXTRA = (
    "Cross validation of arrays needs scikit-learn: pip install 'glimr_keras[sklearn]', or give "
    "`folds=`."
)


@dataclasses.dataclass(frozen=True)
class Folds:
    """The assignment of samples to the folds of a cross validation.

    Attributes:
        count: The number of folds. Fold i is validated on part i and trained on the others.
        parts: The part of each sample, shape (samples,), int; `None` if a sample's part follows
            from its position, or if the user's own loader splits.
        groups: The group of each sample as an integer, shape (samples,); `None` without groups.
    """

    count: int
    parts: np.ndarray | None = None
    groups: np.ndarray | None = None


def make(
    arguments: FitArguments,
    count: int,
    seed: int,
    groups: Any = None,
    stratify: Any = "auto",
    folds: Any = None,
) -> Folds:
    """Assign the samples to folds, shuffled under `seed`.

    Args:
        arguments: The data: arrays, frames or tensors whose first axis counts the samples, in any
            nesting; or `Bags`; or another `PyDataset`, whose batches are the samples here; or a
            `tf.data.Dataset`, whose elements are assigned by position.
        count: The number of folds, at least 2.
        seed: The seed. The same seed makes the same folds for the same labels.
        groups: The group of each sample, such as its patient, shape (samples,); no group is on both
            sides of a split. Defaults to `None`: no groups.
        stratify: Classes, shape (samples,), which each fold has in their overall proportions;
            `None` for no stratification. Defaults to `"auto"`, which uses the labels if they are
            classes (strings, booleans, integers, 0 and 1, one-hot rows). Several labels are
            combined if each combination is frequent enough; otherwise the first one is used.
        folds: The fold of each sample, shape (samples,), from 0 to `count - 1`, instead of an
            assignment here. Defaults to `None`.

    Raises:
        ValueError: If there is also validation data, if sizes differ, or if the data cannot be
            split. Also if a class or the number of groups is smaller than `count`, or a group is in
            two of `folds`.
        ModuleNotFoundError: If scikit-learn is needed and missing.
    """
    if arguments.has_validation:
        raise ValueError(
            "With `cv_folds`, each fold is validated on its own part of the data. Leave out "
            f"`validation_data` and `validation_split`. Received: {sorted(arguments.kwargs)}"
        )
    if tf_datasets.is_dataset(arguments.x):
        _check_dataset(arguments.x, groups, stratify, folds)
        return Folds(count)
    size = _size(arguments)
    groups = None if groups is None else _vector("groups", groups, size)
    codes = None if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    if folds is not None:
        return Folds(count, _checked_parts(_vector("folds", folds, size), count, groups), codes)
    if isinstance(stratify, str) and stratify == "auto":
        classes, hint = (
            _classes(data.labels(arguments), count),
            " Pass `stratify=None` to split without regard to the labels.",
        )
    else:
        classes, hint = None if stratify is None else _vector("stratify", stratify, size), ""
    _check_enough(classes, groups, size, count, hint)
    return Folds(count, _dealt(size, count, seed, classes, groups), codes)


def split(arguments: FitArguments, folds: Folds, fold: int) -> FitArguments:
    """Return the data of one fold: the training part, with the rest as `validation_data`."""
    weight = arguments.kwargs.get("sample_weight")
    if folds.parts is None:
        train, validation = tf_datasets.split(arguments.x, folds.count, fold)
        pieces: list[Any] = [(train,), validation]
    elif isinstance(arguments.x, keras.utils.PyDataset):
        train, validation = (
            _batches(arguments.x, np.flatnonzero(chosen))
            for chosen in (folds.parts != fold, folds.parts == fold)
        )
        pieces = [(train,), validation]
    else:
        given = [arguments.x, arguments.y] + ([] if weight is None else [weight])
        pieces = [
            tuple(samples.taken(part, np.flatnonzero(chosen)) for part in given)
            for chosen in (folds.parts != fold, folds.parts == fold)
        ]
    (x, *rest), validation = pieces
    kwargs = {**arguments.kwargs, "validation_data": validation}
    kwargs.pop("x", None)
    kwargs.pop("y", None)
    if weight is not None and folds.parts is not None:
        kwargs["sample_weight"] = rest[1]
    return FitArguments((x, *rest[:1], *arguments.args[2:]), kwargs)


def _batches(dataset: keras.utils.PyDataset, chosen: np.ndarray) -> keras.utils.PyDataset:
    """Return the chosen bags, or the chosen batches of another dataset."""
    if isinstance(dataset, Bags):
        return dataset.taken(chosen)
    return py_datasets.Part(dataset, chosen)


def _dealt(
    size: int, count: int, seed: int, classes: np.ndarray | None, groups: np.ndarray | None
) -> np.ndarray:
    try:
        from sklearn import model_selection  # an extra
    except ImportError as error:
        raise ModuleNotFoundError(_EXTRA) from error
    if groups is not None:
        splitter = model_selection.StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    elif classes is not None:
        splitter = model_selection.StratifiedKFold(count, shuffle=True, random_state=seed)
    else:
        splitter = model_selection.KFold(count, shuffle=True, random_state=seed)
    parts = np.empty(size, int)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # about rare classes, which groups may make unavoidable
        labels = np.zeros(size, int) if classes is None else classes
        for fold, (_, chosen) in enumerate(splitter.split(np.empty((size, 0)), labels, groups)):
            parts[chosen] = fold
    return parts


def _check_enough(
    classes: np.ndarray | None, groups: np.ndarray | None, size: int, count: int, hint: str
) -> None:
    if size < count:
        raise ValueError(
            f"There must be at least as many samples as folds. Received: {size} samples, "
            f"cv_folds={count}"
        )
    if groups is not None and len(np.unique(groups)) < count:
        raise ValueError(
            f"There must be at least as many groups as folds. Received: {len(np.unique(groups))} "
            f"groups, cv_folds={count}"
        )
    if classes is not None:
        names, sizes = np.unique(classes, return_counts=True)
        if groups is None and sizes.min() < count:
            raise ValueError(
                "Each class must have at least as many samples as there are folds, so that each "
                f"fold has one. Received: {sizes.min()} of class "
                f"{names.tolist()[sizes.argmin()]!r}, cv_folds={count}.{hint}"
            )


def _checked_parts(parts: np.ndarray, count: int, groups: np.ndarray | None) -> np.ndarray:
    if parts.dtype.kind not in "iu" or set(np.unique(parts)) != set(range(count)):
        raise ValueError(
            f"`folds` must have the fold of each sample, integers from 0 to {count - 1} of which "
            f"each occurs. Received: {sorted(set(parts.tolist()))[:10]}"
        )
    for group in [] if groups is None else np.unique(groups).tolist():
        found = np.unique(parts[groups == group])
        if len(found) > 1:
            raise ValueError(
                "A group must be in one fold, or models are validated on what they were trained "
                f"on. Received: group {group!r} in the folds {found.tolist()}"
            )
    return parts


def _check_dataset(dataset: Any, groups: Any, stratify: Any, folds: Any) -> None:
    """Reject a pipeline whose elements cannot be assigned by position."""
    automatic = isinstance(stratify, str) and stratify == "auto"
    if groups is not None or folds is not None or not (automatic or stratify is None):
        raise ValueError(
            "A tf.data.Dataset is dealt out by position, so `groups`, `stratify` and `folds` "
            "need arrays. Give arrays, or override `HyperModel.data(config)` and return the data "
            "of fold `config.fold`."
        )
    if tf_datasets.mixes(dataset):
        raise ValueError(
            "A tf.data.Dataset is dealt out by position: element i is in fold i % cv_folds, a "
            "batch if it is batched. This one shuffles or repeats, so an element has several "
            "positions, and would be trained on and validated on. Give it without, or override "
            "`HyperModel.data(config)` and shuffle there, behind the split."
        )


def _size(arguments: FitArguments) -> int:
    weight = arguments.kwargs.get("sample_weight")
    if isinstance(arguments.x, keras.utils.PyDataset):
        return _size_of_source(arguments.x, arguments.y, weight)
    hint = bags_hint(arguments.x, arguments.y)
    if hint:
        raise ValueError(f"`x` must have one array for each input.{hint}")
    leaves = samples.leaves((arguments.x, arguments.y, weight))
    for leaf in leaves:
        if not samples.has_samples(leaf):
            raise ValueError(
                "`cv_folds` splits arrays, tensors, frames, PyDatasets and tf.data.Datasets. Give "
                "one of those, or override `HyperModel.data(config)` and return the data of fold "
                f"`config.fold`. Received: {type(leaf).__name__}"
            )
    sizes = {samples.count(leaf) for leaf in leaves}
    if len(sizes) != 1:
        raise ValueError(
            "All data must have the same number of samples to be split into folds. Received: "
            f"{sorted(sizes)}"
        )
    return sizes.pop()


def _size_of_source(dataset: keras.utils.PyDataset, y: Any, weight: Any) -> int:
    """Return the number of bags or batches.

    Raises:
        ValueError: If the batches of another dataset may change.
    """
    kind = type(dataset).__name__
    if y is not None or weight is not None:
        raise ValueError(
            f"A {kind} has its labels and weights in it, so there are none beside it. Received: "
            f"a {kind} and `{'y' if y is not None else 'sample_weight'}`"
        )
    if isinstance(dataset, Bags):
        return dataset.num_bags
    count = data.num_batches(dataset)
    if count is None:
        raise ValueError(
            "A PyDataset is split by its batches, so it must say how many there are. Received: "
            f"{kind}, whose `num_batches` is None"
        )
    if py_datasets.mixes(dataset):
        raise ValueError(
            "A PyDataset is split by its batches, and `groups`, `stratify` and `folds` have an "
            f"entry for each. {kind} changes what is in them, by `on_epoch_begin`, `on_epoch_end` "
            "or by chance, so a sample would be trained on and validated on. Give it without, or "
            "override `HyperModel.data(config)` and return the data of fold `config.fold`."
        )
    return count


def _vector(name: str, values: Any, size: int) -> np.ndarray:
    vector = np.asarray(values)
    if vector.shape != (size,):
        raise ValueError(
            f"`{name}` must have an entry for each of {size} samples. Received: an array of shape "
            f"{vector.shape}"
        )
    return vector


def _classes(labels: Any, count: int) -> np.ndarray | None:
    """Return the classes of the labels as integers, shape (samples,).

    `None` if the labels are not classes.
    """
    found = [classes for classes in map(_classes_of, samples.leaves(labels)) if classes is not None]
    if len(found) < 2:
        return found[0] if found else None
    _, together = np.unique(
        np.stack([np.unique(classes, return_inverse=True)[1] for classes in found]),
        axis=1,
        return_inverse=True,
    )
    together = together.reshape(-1)
    return together if np.bincount(together).min() >= count else found[0]


def _classes_of(leaf: Any) -> np.ndarray | None:
    label = np.asarray(keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf)
    if label.ndim == 2 and label.shape[1] == 1:
        label = label[:, 0]
    if label.ndim == 2 and label.dtype.kind in "biuf":
        is_one_hot = np.isin(label, (0, 1)).all() and (label.sum(axis=1) == 1).all()
        return label.argmax(axis=1) if is_one_hot else None
    if label.ndim != 1:
        return None
    if label.dtype.kind in "biuUSO":
        return label
    return label.astype(int) if np.isin(label, (0, 1)).all() else None
