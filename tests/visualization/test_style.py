"""Names that fit, and ends of axes."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimr_keras.visualization import style


def luminance(colour):
    return sum(
        part * int(colour[place : place + 2], 16)
        for part, place in zip((0.2126, 0.7152, 0.0722), (1, 3, 5), strict=True)
    )


def test_a_long_name_loses_its_middle():
    assert style.shortened("optimization/learning_rate", 12) == "optim…g_rate"
    assert style.shortened("optimization/learning_rate", 26) == "optimization/learning_rate"


@given(st.text(), st.integers(2, 40))
def test_a_shortened_name_fits(name, length):
    short = style.shortened(name, length)
    assert len(short) <= length
    assert short == name or "…" in short


@given(st.lists(st.text(alphabet="ab/", max_size=60), unique=True, max_size=8))
def test_shortened_names_are_told_apart(names):
    short = style.shortened_all(names, 8)
    assert len(set(short)) == len(names)


@given(st.text(alphabet="abc_/", max_size=80), st.integers(4, 30))
def test_lines_of_a_wrapped_text_fit_and_lose_nothing(text, length):
    lines = style.wrapped(text, length).split("\n")
    assert "".join(lines) == text
    assert all(len(line) <= length for line in lines)


def test_a_text_is_broken_after_a_slash_rather_than_an_underscore():
    assert style.wrapped("optimization/learning_rate", 22) == "optimization/\nlearning_rate"
    assert style.wrapped("a_very_long_name", 10) == "a_very_\nlong_name"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (64.0, "64"),
        (0.95417, "0.954"),
        (1.2e-05, "1.2e-05"),
        (3e9, "3e+09"),
        (-2.0, "-2"),
        (np.inf, "inf"),
        (-np.inf, "-inf"),
        (np.nan, "nan"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert style.number(value) == text


@pytest.mark.parametrize("constant", [0.0, 1e-9, -3.0, 1e12])
def test_an_axis_of_one_value_has_it_in_the_middle(constant):
    low, high = style.limits([constant, np.nan, constant])
    assert low < constant < high
    assert (low + high) / 2 == pytest.approx(constant)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_an_axis_that_is_no_score_shows_every_value(values):
    low, high = style.limits(values)
    assert low <= min(values)
    assert high >= max(values)


@pytest.mark.parametrize("is_min", [True, False])
def test_scores_that_are_far_worse_are_beyond_the_end_and_none_that_is_good(is_min):
    sign = 1 if is_min else -1
    scores = sign * np.array([0.1, 0.2, 0.3, 0.35, 0.4, 0.6, 1e7, np.inf, np.nan])
    low, high = style.limits(scores, is_min)
    assert (low < scores[:6]).all()
    assert (scores[:6] < high).all()
    assert not low < scores[6] < high


def test_colours_differ_also_in_brightness():
    """Those next to each other are used together, and are told apart in black and white."""
    bright = [luminance(colour) for colour in style.COLOURS if colour != style.INK]
    assert len(set(style.COLOURS)) == 8
    assert all(abs(one - other) > 8 for one, other in itertools.pairwise(bright))
