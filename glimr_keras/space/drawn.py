"""Values that `tune.sample_from` gives: drawn once for a trial, and written down. Runs in driver
and worker.

What JSON has (numbers, strings, and lists and dicts of them) is written down as it is, and what
only Python can write as a literal (tuples and sets) as that text. Of anything else the seed is
written down, with a fingerprint, so that it can be drawn again wherever the trial's configuration
is wanted, and is seen to be the same.
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
    """Whether it is a domain that nothing is known of but how to draw from it: a `sample_from`, or
    one of a user's own kind.
    """
    return is_of_ray(leaf, "Domain") and not is_of_ray(leaf, "Categorical", "Float", "Integer")


def seed_of(key: Sequence[int] | None, name: str) -> int:
    """The seed of the value of this name in a trial; `None` stands for a default configuration."""
    entropy = [*(key or ()), zlib.crc32(name.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def draw(domain: Domain, config: Mapping[str, Any], seed: int) -> Any:
    """Draw a value; Python's and NumPy's random generators are seeded meanwhile.

    Args:
        config: The configuration that it may be derived from.
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
    """A value as it is written down.

    Args:
        seed: That it was drawn with.

    Returns:
        A scalar, or lists and dicts of those. A text is either a string that was drawn, or a
        literal, or says how the value can be drawn again.
    """
    with contextlib.suppress(TypeError):
        plain = _plain(value)
        if not is_scalar(plain):
            return plain if _is_same_in_json(plain) else repr(plain)
        is_plain = not isinstance(plain, str) or restored(plain, None) is plain
        return plain if is_plain else repr(plain)
    name = getattr(value, "__name__", type(value).__name__)  # Keras' objects are named anew
    return f"{name} #{_fingerprint(value)} drawn with seed {seed}"


def is_literal(value: Any) -> bool:
    """Whether a value can be written down as it is."""
    try:
        _plain(value)
    except TypeError:
        return False
    return True


def restored(record: Any, redraw: Callable[[int], Any] | None, name: str = "") -> Any:
    """The value that was written down.

    Args:
        redraw: Draws the value for a seed; `None` if a text that says how is not to be followed.
        name: Of the value, for messages.

    Raises:
        FatalValueError: If another value is drawn.
    """
    if not isinstance(record, str):
        return copied(record)  # `build` may change what it gets
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
    """Whether what is read from JSON is what was written, which makes lists of tuples."""
    if type(plain) is list:
        return all(map(_is_same_in_json, plain))
    if type(plain) is dict:
        return all(type(key) is str for key in plain) and all(map(_is_same_in_json, plain.values()))
    return is_scalar(plain)


def _literal(text: str) -> Any:
    """The container or the quoted string that a text is the literal of; or the text itself."""
    try:
        value = ast.literal_eval(text) if text[:1] in "[({'\"bs" else text
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (*_CONTAINERS, str, bytes)) else text


def _plain(value: Any) -> Any:
    """A value of Python's own kinds only, those of NumPy made such.

    Raises:
        TypeError: If there is something else in it.
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
    """What a value consists of, the same for values that are drawn alike in any process."""
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
    if callable(getattr(value, "get_config", None)):  # as Keras' objects, which are named anew
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
