"""Points that fill the unit cube evenly: a Sobol sequence. NumPy; runs in the driver.

The direction numbers are from Joe and Kuo, "Constructing Sobol Sequences with Better
Two-Dimensional Projections", SIAM J. Sci. Comput. 30 (2008). A random digital shift gives another
sequence for each seed, which fills the cube equally evenly.
"""

from __future__ import annotations

import numpy as np

_BITS = 30
_DIRECTIONS = (  # from the second dimension on: the polynomial's coefficients, first numbers
    (0, (1,)),
    (1, (1, 3)),
    (1, (1, 3, 1)),
    (2, (1, 1, 1)),
    (1, (1, 1, 3, 3)),
    (4, (1, 3, 5, 13)),
    (2, (1, 1, 5, 5, 17)),
    (4, (1, 1, 5, 5, 5)),
    (7, (1, 1, 7, 11, 19)),
    (11, (1, 1, 5, 1, 1)),
    (13, (1, 1, 1, 3, 11)),
    (14, (1, 3, 5, 5, 31)),
    (1, (1, 3, 3, 9, 7, 49)),
    (13, (1, 1, 1, 15, 21, 21)),
    (16, (1, 3, 1, 13, 27, 49)),
    (19, (1, 1, 1, 15, 7, 5)),
    (22, (1, 3, 1, 15, 13, 25)),
    (25, (1, 1, 5, 5, 19, 61)),
    (1, (1, 3, 7, 11, 23, 15, 103)),
    (4, (1, 3, 7, 13, 13, 15, 69)),
)
MAX_DIMENSIONS = len(_DIRECTIONS) + 1


def sobol_point(index: int, dimensions: int, seed: int) -> np.ndarray:
    """Return one point of a sequence.

    Args:
        index: The number of the point, from 0.
        dimensions: The number of dimensions of the cube. Those beyond `MAX_DIMENSIONS` are random.
        seed: The seed of the sequence; points of one seed belong together.

    Returns:
        Shape (dimensions,), each from 0, inclusive, to 1, exclusive.
    """
    shift = np.random.default_rng(seed).integers(1 << _BITS, size=dimensions)
    point = np.random.default_rng([seed, index]).random(dimensions)
    for dimension in range(min(dimensions, MAX_DIMENSIONS)):
        bits, rest, place = int(shift[dimension]), index ^ (index >> 1), 0  # the Gray code
        numbers = _numbers(dimension)
        while rest:
            if rest & 1:
                bits ^= numbers[place]
            rest, place = rest >> 1, place + 1
        point[dimension] = bits / (1 << _BITS)
    return point


def _numbers(dimension: int) -> list[int]:
    """Return the direction numbers of a dimension, the highest bit first."""
    if dimension == 0:
        return [1 << (_BITS - 1 - place) for place in range(_BITS)]
    coefficients, first = _DIRECTIONS[dimension - 1]
    degree = len(first)
    numbers = [number << (_BITS - 1 - place) for place, number in enumerate(first)]
    for place in range(degree, _BITS):
        number = numbers[place - degree] ^ (numbers[place - degree] >> degree)
        for back in range(1, degree):
            if coefficients >> (degree - 1 - back) & 1:
                number ^= numbers[place - back]
        numbers.append(number)
    return numbers
