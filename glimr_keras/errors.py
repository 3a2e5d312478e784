"""The errors that glimr_keras raises, and how it shows an error from user code. Runs in driver and
worker.

Exception
├── FailedTrialError               raised by user code: this configuration failed, do not retry it
├── FatalError                     raised by user code: stop the whole search
│   ├── FatalValueError            also a ValueError
│   │   └── ShippingError          an object cannot be sent to a worker; also a TypeError
│   ├── FatalTypeError             also a TypeError
│   │   └── NoMetricsError         the objective was not reported
│   └── FatalRuntimeError          also a RuntimeError
├── CheckpointError (ValueError)   a checkpoint is damaged or missing
├── ModelError (ValueError)        the return value of `build`, `data` or `fit` cannot be used
│   ├── DataError                  Keras cannot train on it; also a FatalValueError
│   ├── HyperModelError            not a `HyperModel`; also a FatalValueError
│   └── NoModelError               `build` returned no model; also a FatalTypeError
├── ObjectiveError (ValueError)    no such metric, or its direction is unknown
│   ├── MissingObjectiveError      not among the reported metrics; also a FatalValueError
│   └── InvalidObjectiveError      not an objective; also a TypeError
├── ProjectError (ValueError)      the project directory cannot be used for this search
│   └── OtherOracleError           started by a different kind of oracle; also a RuntimeError
├── ResourcesError (ValueError)    a trial needs more than any machine has, or Ray is unavailable
├── StorageError (RuntimeError)    the project cannot be written to, as on a full disk
└── SearchError (RuntimeError)     too many consecutive trials failed
"""

from __future__ import annotations

import difflib
import importlib.util
import pathlib
import traceback
from collections.abc import Iterable, Sequence
from typing import Any


class FailedTrialError(Exception):
    """Raise this in `build`, `data` or `fit` to mark a configuration as failed and continue the
    search.
    """


class FatalError(Exception):
    """Raise this, or a subclass, in user code to stop the whole search.

    The search raises a subclass unchanged, with its attributes, even if its `__init__` takes other
    arguments.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.args, vars(self))


def _remade(
    kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException:
    """Recreate an error without calling its `__init__` again."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error


class FatalValueError(FatalError, ValueError):
    """A fatal error that is also a `ValueError`."""


class FatalTypeError(FatalError, TypeError):
    """A fatal error that is also a `TypeError`."""


class NoMetricsError(FatalTypeError):
    """The return value of `fit`, `run` or `run_trial` does not contain the objective."""


class FatalRuntimeError(FatalError, RuntimeError):
    """A fatal error that is also a `RuntimeError`."""


class CheckpointError(ValueError):
    """A checkpoint is damaged or no longer exists."""


class ModelError(ValueError):
    """The return value of `build`, `data` or `fit` cannot be used."""


class DataError(ModelError, FatalValueError):
    """Keras' `fit` cannot train on the data, or with the arguments, that it would receive."""


class HyperModelError(ModelError, FatalValueError):
    """The value of `hypermodel` is not a hypermodel."""


class NoModelError(ModelError, FatalTypeError):
    """The return value of `build` is not a model."""


class ObjectiveError(ValueError):
    """The objective is missing or unknown to the model, or its direction cannot be inferred."""


class MissingObjectiveError(ObjectiveError, FatalValueError):
    """The objective is not among the metrics that `fit`, `run` or `run_trial` returned."""


class InvalidObjectiveError(ObjectiveError, TypeError):
    """The value of `objective` is not an objective."""


class ProjectError(ValueError):
    """The project directory belongs to something else, or to a different search."""


class OtherOracleError(ProjectError, RuntimeError):
    """The project was started by a different kind of oracle."""


class ResourcesError(ValueError):
    """A trial needs more CPUs or GPUs than any machine of the cluster has, or Ray cannot be started
    or joined.
    """


class ShippingError(FatalValueError, TypeError):
    """An object cannot be sent to a worker process."""


class StorageError(RuntimeError):
    """The project directory cannot be written to, as on a full disk.

    Its existing content is intact, and the search can be resumed.
    """


class SearchError(RuntimeError):
    """The search stopped because too many consecutive trials failed."""


def add_note(error: BaseException, note: str) -> None:
    """Add a sentence to an error, shown below its message."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:  # Python 3.10
        first = error.args[0] if error.args else type(error).__name__
        error.args = (f"{first}\n{note}", *error.args[1:])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the known name closest to `name`, or an empty string."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def user_traceback(error: BaseException, hidden: Sequence[str] = ("glimr_keras", "ray")) -> str:
    """Format an error's traceback without the frames of the packages in `hidden`.

    Args:
        error: The caught error, with its traceback.
        hidden: Top-level names of the installed packages whose frames are hidden. Defaults to
            `("glimr_keras", "ray")`.

    Returns:
        The text that Python would print without these frames. When all frames are hidden, only the
        error's own line remains.
    """
    formatted = traceback.TracebackException.from_exception(error)
    chained: traceback.TracebackException | None = formatted
    while chained is not None:
        chained.stack = traceback.StackSummary.from_list(
            [frame for frame in chained.stack if not _belongs_to(frame.filename, hidden)]
        )
        chained = chained.__cause__ or chained.__context__
    text = "".join(formatted.format())
    return text + _ENDED if isinstance(error, SystemExit) else text


_ENDED = (
    "Here the code ended its process, as `sys.exit` does, and `argparse` on a wrong argument.\n"
)
_HEAD = "Traceback (most recent call last):\n"


def reason_of(text: str) -> str:
    """Extract an error's type and its whole message, which may have several lines, from a
    traceback.

    Return any other text unchanged, without the space around it.
    """
    _, head, last = text.rpartition(_HEAD)
    lines = last.splitlines()
    if head:  # the frames come first, and are indented
        first = next((place for place, line in enumerate(lines) if line[:1].strip()), 0)
        lines = lines[first:]
    return "\n".join(lines).strip()


def _belongs_to(filename: str, packages: Sequence[str]) -> bool:
    roots = filter(None, map(_package_root, packages))
    return any(pathlib.Path(filename).is_relative_to(root) for root in roots)


def _package_root(package: str) -> pathlib.Path | None:
    spec = importlib.util.find_spec(package)
    return pathlib.Path(spec.origin).parent if spec is not None and spec.origin else None
