"""Hyperparameters in words, and as a table."""

import pytest
from ray import tune

from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.described import condition_in_words, space_columns, values_in_words
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Fixed, Float, Int
from glimr_keras.space.hyperparameters import HyperParameters


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        (Int("a", 1, 64), "1 to 64"),
        (Int("a", 16, 256, step=16), "16 to 256, step 16"),
        (Int("a", 1, 64, step=2, sampling="log"), "1 to 64, step 2, log"),
        (Float("a", 1e-5, 0.1, sampling="log"), "1e-05 to 0.1, log"),
        (Float("a", 0, 1, step=0.1), "0 to 1, step 0.1"),
        (Choice("a", ["x", 3, None]), "x, 3, None"),
        (Boolean("a"), "True, False"),
        (Fixed("a", 7), "7"),
        (DeclaredSpace({"a": tune.choice([[1, 2], {"b": 3}])}).parameters[0], "[1, 2], {'b': 3}"),
    ],
)
def test_what_it_can_be_is_said(parameter, words):
    assert values_in_words(parameter) == words


def test_a_domain_of_ray_is_said_by_its_definition():
    (parameter,) = DeclaredSpace({"a": tune.randn(0, 2)}).parameters
    assert values_in_words(parameter) == parameter.definition


def test_conditions_are_said():
    assert condition_in_words(Condition("kind", ("sgd", "adam"))) == "kind = sgd or adam"


def as_rows(columns):
    names = [column.name for column in columns]
    rows = zip(*(column.cells for column in columns), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_a_space_is_a_table():
    space = [
        Choice("kind", ["sgd", "adam"]),
        Float("momentum", 0, 1, conditions=(Condition("kind", ("sgd",)),)),
    ]
    assert as_rows(space_columns(space)) == [
        {"name": "kind", "kind": "Choice", "values": "sgd, adam", "exists where": "always"},
        {"name": "momentum", "kind": "Float", "values": "0 to 1", "exists where": "kind = sgd"},
    ]
    assert as_rows(space_columns(space, {"kind": "adam", "other": 0.25})) == [
        {
            "name": "kind",
            "value": "adam",
            "kind": "Choice",
            "values": "sgd, adam",
            "exists where": "always",
        },
        {
            "name": "momentum",
            "value": "-",
            "kind": "Float",
            "values": "0 to 1",
            "exists where": "kind = sgd",
        },
        {"name": "other", "value": "0.25", "kind": "-", "values": "-", "exists where": "-"},
    ]


def test_hyperparameters_show_in_a_notebook():
    config = HyperParameters()
    config.Int("units", 16, 256, step=16)
    config.Choice("<b>", ["<i>"])
    page = config._repr_html_()
    assert "<td>units</td><td>16</td><td>Int</td><td>16 to 256, step 16</td>" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page.replace("<b>HyperParameters</b>", "")
    assert "none" in HyperParameters()._repr_html_()
