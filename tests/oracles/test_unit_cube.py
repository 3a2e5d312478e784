"""A search space with conditions as the unit cube."""

import numpy as np
import pytest

from glimr_keras.oracles.unit_cube import UnitCube
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Fixed, Float, Int
from glimr_keras.space.search_space import SearchSpace

DEEP = (Condition("kind", ("deep",)),)
WIDE = (Condition("kind", ("wide",)),)
SPACE = SearchSpace(
    [
        Choice("kind", ["flat", "deep", "wide"]),
        Float("rate", 1e-4, 1e-1, sampling="log"),
        Int("layers", 1, 8, conditions=DEEP),
        Int("units", 8, 512, sampling="log", conditions=DEEP),
        Int("units", 100, 200, step=50, conditions=WIDE),  # another of the same name
        Choice("activation", ["relu", "gelu", "tanh"], conditions=DEEP),
        Boolean("bias", conditions=(*DEEP, Condition("layers", (1, 2)))),
        Fixed("version", 3),
        Float("share", 0.0, 1.0, step=0.25),
        Choice("batch", [128, 32, 64]),
    ]
)
LOOP = SearchSpace(
    [Int("layers", 1, 3), Int("units_0", 1, 9), Int("units_1", 1, 9), Float("cut", 0, 1)],
    [
        {"layers": 1, "units_0": 4, "cut": 0.5},
        {"layers": 2, "units_0": 4, "units_1": 5, "cut": 0.5},
        {"layers": 3, "units_0": 4, "units_1": 5, "cut": 0.5},
    ],
)
every_space = pytest.mark.parametrize("space", [SPACE, LOOP], ids=["written", "found"])


def drawn(space, count=200, seed=0):
    generator = np.random.default_rng(seed)
    return [
        space.walk(lambda parameter: parameter.prob_to_value(generator.random()))
        for _ in range(count)
    ]


@every_space
def test_rows_are_the_configurations_of_the_space(space):
    cube = UnitCube(space)
    rows = cube.snapped(np.random.default_rng(0).random((300, len(cube.axes))))
    found = [cube.configuration(row) for row in rows]
    for values in found:
        assert values == space.walk(lambda parameter, values=values: values[parameter.name])
    again, existing = cube.rows(found)
    assert np.array_equal(existing, cube.existing(rows))
    assert np.allclose(again[existing], rows[existing])


@every_space
def test_configurations_come_back_from_their_rows(space):
    cube, values = UnitCube(space), drawn(space)
    rows, existing = cube.rows(values)
    for row, one in zip(rows, values, strict=True):
        assert cube.configuration(row) == pytest.approx(one, rel=1e-9)
    assert np.array_equal(cube.existing(rows), existing)
    assert np.allclose(cube.snapped(rows)[existing], rows[existing])


def test_a_hyperparameter_with_one_value_has_no_column():
    assert len(UnitCube(SPACE).groups) == 3 + 1 + 1 + 1 + 1 + 3 + 2 + 1 + 1


def test_points_differ_only_in_what_both_have():
    cube = UnitCube(SPACE)
    flat = {"kind": "flat", "rate": 0.01, "version": 3, "share": 0.5, "batch": 32}
    rows, existing = cube.rows([flat, flat])
    rows[1, 2:7] = 0.9  # of what does not exist
    one, other = cube.points(rows, existing)
    assert np.array_equal(one, other)


def test_numbers_keep_their_order_and_options_are_alike():
    cube = UnitCube(SPACE)
    batches = [{"kind": "flat", "batch": batch} for batch in (32, 64, 128)]
    points = cube.points(*cube.rows(batches))
    assert (np.diff(points[:, -1]) > 0).all()
    kinds = cube.points(*cube.rows([{"kind": kind} for kind in ("flat", "deep", "wide")]))
    distances = ((kinds[:, None, :3] - kinds[None, :, :3]) ** 2).sum(axis=-1)
    assert (distances[~np.eye(3, dtype=bool)] == 2).all()


def test_what_is_none_of_the_space_does_not_exist():
    cube = UnitCube(SPACE)
    _, existing = cube.rows([{"kind": "deep", "layers": 99, "rate": "fast", "other": 1}])
    assert [bool(exists) for exists in existing[0]] == [True] + 9 * [False]


def test_a_cube_stays_as_the_space_was():
    space = SearchSpace([Int("layers", 1, 3)])
    cube = UnitCube(space)
    assert cube.is_of(space)
    space.update([Float("rate", 0, 1)])
    assert not cube.is_of(space)
    assert len(cube.axes) == 1
    assert set(cube.configuration(np.array([0.5]))) == {"layers"}
    assert not UnitCube(space).has_axes_of(cube)


def test_a_number_with_many_values_is_a_real_one():
    (axis,) = UnitCube(SearchSpace([Int("steps", 1, 100_000)])).axes
    assert axis.codes is None


def test_a_name_that_two_hyperparameters_have_counts_once():
    """Where both exist, a configuration and its row have the first."""
    space = SearchSpace(
        [
            Choice("k", ["a", "b"]),
            Float("u", 0, 1),
            Float("u", 0, 10, conditions=(Condition("k", ("b",)),)),
        ]
    )
    cube = UnitCube(space)
    rows, existing = cube.rows([{"k": "b", "u": 0.3}])
    assert existing.tolist() == cube.existing(rows).tolist() == [[True, True, False]]


def test_many_options_are_directions_that_are_about_as_far_from_each_other():
    cube = UnitCube(SearchSpace([Choice("c", [f"m{number}" for number in range(200)])]))
    rows = np.array([[cube.axes[0].encode(f"m{number}")] for number in range(200)])
    points = cube.points(rows, cube.existing(rows))
    assert points.shape == (200, 32)
    squares = ((points[:, None] - points) ** 2).sum(axis=2)
    assert np.diag(squares) == pytest.approx(0)
    assert 0.5 < squares[~np.eye(200, dtype=bool)].min() < squares.max() < 3.5


def test_conditions_on_a_number_with_many_values_hold_where_they_do():
    conditions = (Condition("n", tuple(range(10, 100_001))),)
    space = SearchSpace([Int("n", 1, 100_000), Float("a", 0, 1, conditions=conditions)])
    cube = UnitCube(space)
    assert cube.axes[0].codes is None
    rows, existing = cube.rows([{"n": 9}, {"n": 10, "a": 0.5}])
    assert existing.tolist() == cube.existing(rows).tolist() == [[True, False], [True, True]]


def test_an_option_that_is_equal_to_nothing_is_no_error():
    cube = UnitCube(SearchSpace([Choice("c", [float("nan"), "x"]), Float("y", 0, 1)]))
    assert cube.configuration(np.array([0.9, 0.5])) == {"c": "x", "y": 0.5}
