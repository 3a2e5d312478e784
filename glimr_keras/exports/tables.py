"""A project as CSV and Parquet files. Runs anywhere, without Ray or a model."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Callable

import pandas as pd

from glimr_keras.exports.content import Content
from glimr_keras.exports.files import put
from glimr_keras.results.tables import epochs_table, results_dataframe


def write_csv(content: Content, where: str) -> str:
    """Write CSV files; see `_write`."""
    return _write(content, where, ".csv", lambda table: table.to_csv(index=False).encode())


def write_parquet(content: Content, where: str) -> str:
    """Write Parquet files; see `_write`."""
    return _write(content, where, ".parquet", _as_parquet)


def _write(
    content: Content, where: str, suffix: str, as_bytes: Callable[[pd.DataFrame], bytes]
) -> str:
    """Write the table of trials to a file, or both tables to a directory.

    With `content.epochs`, the file has the table of epochs instead.

    Returns:
        A sentence that says what was written.
    """
    place = pathlib.Path(where)
    if place.suffix == suffix or (place.exists() and not place.is_dir()):
        tables = {place: epochs(content) if content.epochs else trials(content)}
    else:
        tables = {place / f"trials{suffix}": trials(content)}
        tables[place / f"epochs{suffix}"] = epochs(content)
    for path, table in tables.items():
        put(path, as_bytes(table))
    names = " and ".join(f"{path} ({_rows(len(table))})" for path, table in tables.items())
    return f"Wrote {names}."


def trials(content: Content) -> pd.DataFrame:
    """Return one row per trial, best first, as `results_dataframe` does."""
    return results_dataframe(content.project, content.name)


def epochs(content: Content) -> pd.DataFrame:
    """Return one row per epoch, as `experiment_table` does."""
    return epochs_table(content.project, content.directory, content.name)


def _as_parquet(table: pd.DataFrame) -> bytes:
    """Return a table in Parquet format, in which a column has one type.

    Columns with several types, or with integers too large for Parquet, become strings.
    """
    texts = {str(name): _as_text(table[name]) for name in table if _is_mixed(table[name])}
    file = io.BytesIO()
    table.assign(**texts).to_parquet(file, index=False)
    return file.getvalue()


def _is_mixed(column: pd.Series) -> bool:
    if column.dtype != object:
        return False
    values = column.dropna()
    is_large = any(type(value) is int and abs(value) >= 2**63 for value in values)
    return is_large or len(set(map(type, values))) > 1


def _as_text(column: pd.Series) -> pd.Series:
    return column.map(str, na_action="ignore")


def _rows(number: int) -> str:
    return f"{number} row{'' if number == 1 else 's'}"
