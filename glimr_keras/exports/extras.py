"""Optional libraries. Runs anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def needed(library: str, package: str) -> Iterator[None]:
    """Explain how to install a library if its import inside the block fails.

    Args:
        library: The name to import.
        package: The name to install with pip; possibly an extra of this package.

    Raises:
        ImportError: If the library or a part of it is missing.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"This needs {library}, which cannot be imported: {error}. Install it by `pip install "
            f"{package}`."
        ) from error
