"""Checks of single arguments."""

import math

import numpy as np
import pytest

from glimr_keras._utils.checks import (
    checked_count,
    checked_kind,
    checked_seconds,
    optional_count,
)


@pytest.mark.parametrize("value", [1, np.int64(1)])
def test_a_count_is_an_int(value):
    assert type(checked_count("n", value)) is int


@pytest.mark.parametrize("value", [True, 0, -1, 1.0, "1", None])
def test_what_is_no_count_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"`n` must be an integer of at least 1\. Received: n="):
        checked_count("n", value)


def test_a_count_may_be_none_where_it_is_optional():
    assert (optional_count("n", None), optional_count("n", 2, at_least=2)) == (None, 2)
    with pytest.raises(ValueError, match="at least 2"):
        optional_count("n", 1, at_least=2)


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, True, "1"])
def test_what_is_no_number_of_seconds_is_refused(value):
    assert checked_seconds("s", 2) == 2.0
    with pytest.raises(ValueError, match="`s` must be a number of seconds above 0"):
        checked_seconds("s", value)


def test_a_kind_is_checked_by_its_class():
    assert (checked_kind("x", None, int, "an int"), checked_kind("x", 3, int, "an int")) == (
        None,
        3,
    )
    with pytest.raises(TypeError, match=r"`x` must be an int\. Received: x='3'"):
        checked_kind("x", "3", int, "an int")
