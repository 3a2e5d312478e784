"""Values, columns and tables as short text."""

import math

import pytest

from glimr_keras._utils.text import (
    MISSING,
    Column,
    duration,
    four_digits,
    one_line,
    plain,
    short,
    text_table,
)


def test_control_characters_are_left_out():
    assert plain("\x1b[1mbold\x1b[0m \x1b]8;;http://x\x07link\r\n\ta\x07\x00\x9b") == (
        "bold link\n\ta"
    )


def test_one_line_is_one_and_cut_with_an_ellipsis():
    assert one_line(" a\n  b\tc ") == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.98125, "0.9812"),
        (0, "0.0000"),
        (-31.42, "-31.4200"),
        (12345.678, "12345.7"),
        (1.234567e-6, "1.235e-06"),
        (1.234567e9, "1.235e+09"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_a_number_has_the_digits_that_count(number, text):
    assert four_digits(number) == text


def test_any_value_is_short():
    values = [0.000123456, 16, True, None, "a\nb", [1, {"a": 2}]]
    assert list(map(short, values)) == ["0.0001235", "16", "True", "None", "a b", "[1, {'a': 2}]"]


# Columns


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([0.5, 12.25, 3.0], ["0.5000", "12.2500", "3.0000"]),
        ([0.1, 0.30000000000000004, 2.0], ["0.1", "0.3", "2.0"]),
        ([0.0123, 0.9], ["0.01230", "0.90000"]),
        ([1e-5, 1e-1], ["1e-05", "0.1"]),
        ([1234.56, 0.123], ["1234.5600", "0.1230"]),
        ([123456.7, 0.123], ["1.235e+05", "0.123"]),
        ([math.nan, 0.25, -math.inf], ["nan", "0.2500", "-inf"]),
        ([math.nan], ["nan"]),
        ([], []),
        ([0.5, MISSING, 0.25], ["0.5000", "-", "0.2500"]),
        ([1, 20], ["1", "20"]),
        (["a", None, True, 0.123456], ["a", "None", "True", "0.1235"]),
    ],
)
def test_numbers_of_a_column_have_equally_many_decimals(values, cells):
    assert list(Column.of("x", values).cells) == cells


def test_a_column_of_numbers_is_one_also_where_some_are_missing():
    assert Column.of("x", [1, MISSING, 0.5]).is_number
    assert not Column.of("x", [1, "a"]).is_number
    assert not Column.of("x", [True, False]).is_number
    assert not Column.of("x", [MISSING]).is_number


# Tables

NAMES = ("trial", "val_accuracy", "learning_rate_schedule/initial_value", "policy")


def columns(*names):
    values = {
        "trial": ["00", "01"],
        "val_accuracy": [0.5, 0.25],
        "learning_rate_schedule/initial_value": [0.001, 0.01],
        "policy": ["none", "one that has a long name"],
    }
    return [Column.of(name, values[name]) for name in names or NAMES]


def test_numbers_are_aligned_at_the_right_and_texts_at_the_left():
    assert text_table(columns("trial", "val_accuracy", "policy"), 80) == [
        "  trial  val_accuracy  policy",
        "  00           0.5000  none",
        "  01           0.2500  one that has a long name",
    ]


def test_long_headings_are_broken_where_there_is_no_room():
    assert text_table(columns(), 72) == [
        "                       learning_rate_",
        "                            schedule/",
        "  trial  val_accuracy   initial_value  policy",
        "  00           0.5000        0.001000  none",
        "  01           0.2500        0.010000  one that has a long name",
    ]


@pytest.mark.parametrize("width", [40, 50, 60, 72, 80, 200])
def test_a_table_keeps_to_its_width_and_has_every_column(width):
    lines = text_table(columns(), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for shown in ("0.2500", "0.010000", "one that has"):
        assert shown in text


def test_long_texts_are_cut_before_columns_go_below():
    lines = text_table(columns(), 56)
    assert "" not in lines
    assert lines[-1].endswith("…")


def test_columns_that_have_no_room_go_below_with_the_first_one_again():
    lines = text_table(columns(), 40)
    above, below = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert above[-1].split() == ["01", "0.2500", "0.010000"]
    assert below[-1] == "  01     one that has a long name"


def test_a_table_without_rows_is_its_heading():
    assert text_table([Column("trial", ()), Column("score", ())], 80) == ["  trial  score"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (93784, "26:03:04")]
)
def test_a_duration_has_as_many_hours_as_there_are(seconds, text):
    assert duration(seconds) == text
