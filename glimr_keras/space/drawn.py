"""Values of `tune.sample_from`: drawn once per trial, and recorded. Runs in driver and worker.

Values that JSON can represent (numbers, strings, and lists and dicts of them) are recorded as they
are. Python literals that it cannot (tuples and sets) are recorded as text. For anything else, the
seed and a fingerprint are recorded. So the value can be drawn again wherever the configuration is
needed, and checked to be the same.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import math
import random
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras._utils.nested import MISSING, copied
from glimr_keras.errors import FatalValueError
from glimr_keras.space.ray_domains import is_scalar
from glimr_keras.space.ray_kinds import is_of_ray

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain

_REDRAWN = re.compile(r".* #(?P<fingerprint>[0-9a-f]{8}) drawn with seed (?P<seed>\d+)", re.DOTALL)
_CONTAINERS = (list, tuple, dict, set)


def is_drawn(leaf: Any) -> bool:
    """Return whether a domain can only be drawn from: `sample_from`, or a user-defined kind."""
    return is_of_ray(leaf, "Domain") and not is_of_ray(leaf, "Categorical", "Float", "Integer")


def seed_of(key: Sequence[int] | None, name: str) -> int:
    """Return the seed of a named value in a trial; a `key` of `None` is a default configuration."""
    entropy = [*(key or ()), zlib.crc32(name.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def draw(domain: Domain, config: Mapping[str, Any], seed: int) -> Any:
    """Draw a value while Python's and NumPy's random generators are seeded.

    Args:
        domain: The domain to draw from.
        config: The configuration that the value may depend on.
        seed: The seed.
    """
    with _seeded(seed):
        return domain.sample(config=config, random_state=np.random.default_rng(seed))


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    of_python, of_numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def recorded(value: Any, seed: int) -> Any:
    """Return the record of a value.

    Args:
        value: The value.
        seed: The seed that it was drawn with.

    Returns:
        A scalar, or lists and dicts of scalars. A string is either a drawn string, a literal, or a
        description of how to draw the value again.
    """
    with contextlib.suppress(TypeError):
        plain = _plain(value)
        if not is_scalar(plain):
            return plain if _is_same_in_json(plain) else repr(plain)
        is_plain = not isinstance(plain, str) or restored(plain, None) is plain
        return plain if is_plain else repr(plain)
    name = getattr(value, "__name__", type(value).__name__)  # Keras gives its objects new names
    return f"{name} #{_fingerprint(value)} drawn with seed {seed}"


def is_literal(value: Any) -> bool:
    """Return whether a value can be recorded as it is."""
    try:
        _plain(value)
    except TypeError:
        return False
    return True


def restored(record: Any, redraw: Callable[[int], Any] | None, name: str = "") -> Any:
    """Return the value of a record.

    Args:
        record: The record.
        redraw: Draws the value for a seed. With `None`, a record that must be drawn again gives
            `MISSING`.
        name: The name of the value, for error messages. Defaults to `""`.

    Raises:
        FatalValueError: If drawing again gives another value.
    """
    if not isinstance(record, str):
        return copied(record)  # `build` may change the value
    found = _REDRAWN.fullmatch(record)
    if found is None:
        return _literal(record)
    if redraw is None:
        return MISSING
    seed = int(found["seed"])
    value = redraw(seed)
    if recorded(value, seed) != record:
        raise FatalValueError(
            "A function of `tune.sample_from` may give numbers, strings, and lists, tuples, dicts "
            "and sets of them, which are written down for each trial; anything else must be drawn "
            "by `random` or `np.random`, whose seed is written down. Received: a "
            f"{type(value).__name__} at {name!r} that is another one when it is drawn again. Draw "
            "it by `np.random`, or return what it is made of and make it in `build`."
        )
    return value


def _is_same_in_json(plain: Any) -> bool:
    """Return whether a value survives JSON unchanged; tuples become lists there."""
    if type(plain) is list:
        return all(map(_is_same_in_json, plain))
    if type(plain) is dict:
        return all(type(key) is str for key in plain) and all(map(_is_same_in_json, plain.values()))
    return is_scalar(plain)


def _literal(text: str) -> Any:
    """Return the container or string that a text is a literal of; otherwise the text itself."""
    try:
        value = ast.literal_eval(text) if text[:1] in "[({'\"bs" else text
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (*_CONTAINERS, str, bytes)) else text


def _plain(value: Any) -> Any:
    """Return a value with NumPy scalars converted, made of Python's own types only.

    Raises:
        TypeError: If it contains another type.
    """
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(value)
    if kind in (bool, int, str, bytes, type(None)):
        return value
    if kind is float and math.isfinite(value):
        return value
    if kind in (list, tuple, set):
        return kind(map(_plain, value))
    if kind is dict:
        return {_plain(key): _plain(part) for key, part in value.items()}
    raise TypeError(f"{kind.__name__} is no literal")


def _fingerprint(value: Any) -> str:
    return hashlib.blake2b(_content(value, ()).encode(), digest_size=4).hexdigest()


def _content(value: Any, above: tuple[int, ...]) -> str:
    """Return a text of a value's content, the same in any process for equal draws."""
    if id(value) in above:
        return "…"
    inside = functools.partial(_content, above=(*above, id(value)))
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind in (bool, int, float, str, bytes, complex, type(None)):
        return repr(value)
    if isinstance(value, Mapping):
        return name + str([(inside(key), inside(part)) for key, part in value.items()])
    if isinstance(value, (list, tuple)):
        return name + str(list(map(inside, value)))
    if isinstance(value, (set, frozenset)):
        return name + str(sorted(map(inside, value)))
    if isinstance(value, functools.partial):
        return name + inside((value.func, value.args, value.keywords))
    if hasattr(value, "__qualname__"):
        cells = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        defaults = getattr(value, "__defaults__", None)
        return f"{value.__module__}.{value.__qualname__}" + inside((cells, defaults))
    if callable(getattr(value, "get_config", None)):  # such as Keras objects, which get new names
        return name + inside(_unnamed(value.get_config()))
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if not array.dtype.hasobject:
            return f"{name}{array.dtype}{array.shape}{array.tobytes().hex()}"
    if getattr(value, "__dict__", None):
        return name + inside(vars(value))
    return name + re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _unnamed(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _unnamed(part) for key, part in config.items() if key != "name"}
    return [_unnamed(part) for part in config] if isinstance(config, (list, tuple)) else config
