"""Libraries that only some users have. Runs anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def needed(library: str, package: str) -> Iterator[None]:
    """Say of an import inside how the library is installed.

    Args:
        library: As it is imported.
        package: As pip installs it; maybe an extra of this one.

    Raises:
        ImportError: If it, or a part of it, is not there.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"This needs {library}, which cannot be imported: {error}. Install it by `pip install "
            f"{package}`."
        ) from error
