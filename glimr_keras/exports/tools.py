"""`export`: write a project to the files or the store of another tool. Runs anywhere, without Ray
or a model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from glimr_keras.errors import did_you_mean
from glimr_keras.exports import (
    document,
    mlflow_runs,
    optuna_storage,
    tables,
    tensorboard_runs,
    wandb_runs,
)
from glimr_keras.exports.content import Content


@dataclasses.dataclass(frozen=True)
class Tool:
    """A tool that a project can be exported to.

    Attributes:
        write: The function that writes the content and returns a sentence about what it did.
        where: A description of the location.
        needs_place: Whether a location is required because the tool has no default one.
        takes: The optional fields of `Content` that the tool supports: `"epochs"`, `"online"`.
    """

    write: Callable[[Content, Any], str]
    where: str
    needs_place: bool = True
    takes: tuple[str, ...] = ()


_TABLES = "a file of that suffix, or a directory for both tables"
TOOLS = MappingProxyType(
    {
        "csv": Tool(tables.write_csv, _TABLES, takes=("epochs",)),
        "parquet": Tool(tables.write_parquet, _TABLES, takes=("epochs",)),
        "json": Tool(document.write_json, "a file"),
        "optuna": Tool(
            optuna_storage.write_study, "a storage's URL, such as sqlite:///study.db, or a file"
        ),
        "tensorboard": Tool(tensorboard_runs.write_events, "a directory, TensorBoard's --logdir"),
        "mlflow": Tool(
            mlflow_runs.write_runs, "a tracking URI, such as sqlite:///mlflow.db", needs_place=False
        ),
        "wandb": Tool(
            wandb_runs.write_runs,
            "the directory in which W&B makes its own",
            needs_place=False,
            takes=("online",),
        ),
    }
)
"""The tools by name."""


def export(content: Content, to: str, where: str | None = None) -> str:
    """Write a project for another tool, or update an existing export.

    Args:
        content: The content to write.
        to: The tool, one of `TOOLS`.
        where: The location, in the form that the tool expects. Defaults to `None`, which means the
            tool's own default.

    Returns:
        A sentence that says what was done.

    Raises:
        ValueError: If there is no such tool, or it requires a location.
        ImportError: If the tool is not installed.
        ProjectError: If the location belongs to something else, or is inside a project.
        StorageError: If it cannot be written to.
    """
    tool = TOOLS.get(to)
    if tool is None:
        raise ValueError(
            f"`to` must be one of {', '.join(TOOLS)}. Received: to={to!r}.{did_you_mean(to, TOOLS)}"
        )
    if where is None and tool.needs_place:
        raise ValueError(f"`where` must be given for {to}: {tool.where}.")
    return tool.write(content, where)
