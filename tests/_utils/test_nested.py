"""Nested dicts, and paths through them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimr_keras._utils.nested import MISSING, at_path, copied, nested

NAMES = st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(NAMES, st.integers()))
def test_every_value_is_at_its_name(values):
    tree = nested(values)
    for name, value in values.items():
        found = at_path(tree, name)
        assert found == value or found["name"] == value


@pytest.mark.parametrize("order", [["a", "a/b"], ["a/b", "a"]])
def test_an_option_with_hyperparameters_of_its_own_has_its_label_as_name(order):
    assert nested({name: name for name in order}) == {"a": {"name": "a", "b": "a/b"}}


@pytest.mark.parametrize("path", ["b", "a/2", "a/x", "a/0/c", "a/-1"])
def test_where_nothing_is_it_is_missing(path):
    tree = {"a": [{"b": 1}, 2]}
    assert at_path(tree, path) is MISSING
    assert (at_path(tree, "a/0/b"), at_path(tree, "a/1")) == (1, 2)


def test_a_copy_shares_only_the_objects_that_are_in_it():
    inside = object()
    tree = {"a": [{"b": inside}]}
    copy = copied(tree)
    copy["a"][0]["c"] = copy["a"].append(1)
    assert tree == {"a": [{"b": inside}]}
    assert copy["a"][0]["b"] is inside
