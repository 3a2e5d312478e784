"""The errors that glimr_keras raises, and how a user's own error is shown. Runs in driver and
worker.

Exception
├── FailedTrialError               raised by user code: this configuration failed, do not retry it
├── FatalError                     raised by user code: stop the whole search
│   ├── FatalValueError            also a ValueError
│   │   └── ShippingError          something cannot be sent to a worker; also a TypeError
│   ├── FatalTypeError             also a TypeError
│   │   └── NoMetricsError         nothing said what the objective is
│   └── FatalRuntimeError          also a RuntimeError
├── CheckpointError (ValueError)   a checkpoint is damaged, or gone
├── ModelError (ValueError)        what `build`, `data` or `fit` returned cannot be used
│   ├── HyperModelError            no `HyperModel`; also a FatalValueError
│   └── NoModelError               `build` returned no model; also a FatalTypeError
├── ObjectiveError (ValueError)    no such metric, or its direction is unknown
│   ├── MissingObjectiveError      not among the metrics returned; also a FatalValueError
│   └── InvalidObjectiveError      no objective; also a TypeError
├── ProjectError (ValueError)      the project directory cannot be used for this search
│   └── OtherOracleError           an oracle of another kind began it; also a RuntimeError
├── ResourcesError (ValueError)    a trial asks for more than any machine has
├── StorageError (RuntimeError)    the project cannot be written to, as on a full disk
└── SearchError (RuntimeError)     too many trials failed in a row
"""

from __future__ import annotations

import difflib
import importlib.util
import pathlib
import traceback
from collections.abc import Iterable, Sequence
from typing import Any


class FailedTrialError(Exception):
    """Raise it in `build`, `data` or `fit` to mark a configuration as failed without stopping the
    search.
    """


class FatalError(Exception):
    """Raise it, or a subclass, in user code to stop the whole search.

    A subclass comes out of the search as itself, with its attributes, also where its `__init__` has
    arguments of its own.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.args, vars(self))


def _remade(
    kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException:
    """An error as it was, without another call of its `__init__`."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error


class FatalValueError(FatalError, ValueError):
    """A fatal error that is also a `ValueError`."""


class FatalTypeError(FatalError, TypeError):
    """A fatal error that is also a `TypeError`."""


class NoMetricsError(FatalTypeError):
    """What `fit`, `run` or `run_trial` returned says nothing of the objective."""


class FatalRuntimeError(FatalError, RuntimeError):
    """A fatal error that is also a `RuntimeError`."""


class CheckpointError(ValueError):
    """A checkpoint is damaged, or is not there any more."""


class ModelError(ValueError):
    """What `build`, `data` or `fit` returned cannot be used."""


class HyperModelError(ModelError, FatalValueError):
    """What was given as `hypermodel` is none."""


class NoModelError(ModelError, FatalTypeError):
    """What `build` returned is no model."""


class ObjectiveError(ValueError):
    """The objective is missing, unknown to the model, or its direction cannot be inferred."""


class MissingObjectiveError(ObjectiveError, FatalValueError):
    """The objective is not among the metrics that `fit`, `run` or `run_trial` returned."""


class InvalidObjectiveError(ObjectiveError, TypeError):
    """What was given as `objective` is no objective."""


class ProjectError(ValueError):
    """The project directory belongs to something else, or to a different search."""


class OtherOracleError(ProjectError, RuntimeError):
    """The project was begun by an oracle of another kind."""


class ResourcesError(ValueError):
    """A trial asks for more CPUs or GPUs than any machine of the cluster has."""


class ShippingError(FatalValueError, TypeError):
    """An object cannot be sent to a worker process."""


class StorageError(RuntimeError):
    """The project directory cannot be written to, as on a full disk. What is in it is whole; the
    search can be continued.
    """


class SearchError(RuntimeError):
    """The search was stopped because too many trials failed in a row."""


def add_note(error: BaseException, note: str) -> None:
    """Add a sentence to an error, which is shown below it."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:  # Python 3.10
        first = error.args[0] if error.args else type(error).__name__
        error.args = (f"{first}\n{note}", *error.args[1:])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ` Did you mean 'x'?` for the known name nearest to `name`, or an empty string."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def user_traceback(error: BaseException, hidden: Sequence[str] = ("glimr_keras", "ray")) -> str:
    """Formats an error's traceback as the user's own, without the frames of the packages in
    `hidden`.

    Args:
        error: The error as it was caught, with its traceback.
        hidden: Top-level names of installed packages whose frames are left out.

    Returns:
        The text that Python would print. When every frame is hidden, only the error's own line is
        left.
    """
    formatted = traceback.TracebackException.from_exception(error)
    chained: traceback.TracebackException | None = formatted
    while chained is not None:
        chained.stack = traceback.StackSummary.from_list(
            [frame for frame in chained.stack if not _belongs_to(frame.filename, hidden)]
        )
        chained = chained.__cause__ or chained.__context__
    return "".join(formatted.format())


def _belongs_to(filename: str, packages: Sequence[str]) -> bool:
    roots = filter(None, map(_package_root, packages))
    return any(pathlib.Path(filename).is_relative_to(root) for root in roots)


def _package_root(package: str) -> pathlib.Path | None:
    spec = importlib.util.find_spec(package)
    return pathlib.Path(spec.origin).parent if spec is not None and spec.origin else None
