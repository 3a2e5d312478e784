"""`HyperParameters` used without any tuner: values, defaults, configurations, copies, merges,
scopes and mistakes.
"""

import json

import keras_tuner as kt
from keras_tuner import HyperParameters
from keras_tuner.engine import hyperparameters as hp_module


def mistake(function, expected, *words):
    """Whether the expected error is raised, and has one of the words."""
    try:
        function()
    except expected as error:
        return any(word in str(error) for word in words) if words else True
    return "no error"


def described(scopes):
    """The conditions of each scope, in an order of their own."""
    return sorted(
        json.dumps([[condition.name, condition.values] for condition in scope]) for scope in scopes
    )


def main(directory, **tuner_options):
    hp = HyperParameters()
    returned = [
        hp.Int("int", 1, 10),
        hp.Int("step", min_value=8, max_value=64, step=8, default=32),
        hp.Int("log", 1, 1000, sampling="LOG"),
        hp.Float("float", 0.5, 2.5),
        hp.Float("stepped", 0.0, 1.0, step=0.25, default=0.5),
        hp.Choice("words", ["b", "a"]),
        hp.Choice("numbers", [3, 1, 2], default=1),
        hp.Choice("mixed", [0.5, 1.5], ordered=False),
        hp.Boolean("flag"),
        hp.Boolean("set", default=True),
        hp.Fixed("fixed", 0.125),
        hp.Int("int", 100, 200),  # the first registration stays
    ]
    config = hp.get_config()
    again = HyperParameters.from_config(config)
    copied = hp.copy()
    copied.values["int"] = 7
    other = HyperParameters()
    other.Int("int", 3, 4)
    other.Choice("new", ["x"])
    merged = hp.copy()
    merged.merge([other.space[1]])
    kept = hp.copy()
    kept.merge(other, overwrite=False)
    preset = HyperParameters()
    preset.values["units"] = 64
    filled = HyperParameters()
    filled.Choice("parent", ["p", "q"])
    with filled.conditional_scope("parent", "q"):
        absent = filled.Int("child", 1, 3)
    before = dict(filled.values)
    filled.values["parent"] = "q"
    filled.ensure_active_values()
    hp_by_argument = HyperParameters()
    hp_by_argument.Choice("kind", ["a", "b"])
    hp_by_argument.Int("of_b", 1, 2, parent_name="kind", parent_values=["b"])
    hp_by_argument.Int("of_a", 1, 2, parent_name="kind", parent_values="a")
    empty = HyperParameters()
    scoped = HyperParameters()
    with scoped.name_scope("outer"), scoped.name_scope("inner"):
        scoped.Int("units", 1, 2)
        inside = [scoped.get("units"), "units" in scoped]
    return {
        "returned": returned,
        "values": hp.values,
        "config": config,
        "again": again.get_config() == config,
        "copy": [hp.get("int"), copied.get("int"), copied["step"]],
        "merged": [
            [p.name for p in merged.space],
            merged.values.get("new"),
            [p.name for p in kept.space].count("int"),
            kept["int"],
        ],
        "preset": preset.Int("units", 1, 100),
        "absent": [absent, before, sorted(filled.values), filled["child"] in (1, 2, 3)],
        "active": [
            filled.is_active("child"),
            filled.is_active(filled.space[1]),
            "child" in filled,
            "nothing" in filled,
        ],
        "by argument": [hp_by_argument.values, [len(p.conditions) for p in hp_by_argument.space]],
        "scopes": [
            described(hp_by_argument.active_scopes),
            described(hp_by_argument.inactive_scopes),
            hp.active_scopes,
        ],
        "inside": [sorted(hp._hps), [p.name for p in hp._space], hp._name_scopes, hp._conditions],
        "serialized": [
            type(hp_module.deserialize(hp_module.serialize(hp))).__name__,
            hp_module.serialize(hp),
        ],
        "scoped": [inside, scoped.values, "units" in scoped, scoped["outer/inner/units"]],
        "unknown": mistake(lambda: empty.get("x"), KeyError, "does not exist"),
        "inactive": mistake(lambda: hp_by_argument["of_b"], ValueError, "inactive"),
        "choices": mistake(lambda: empty.Choice("c", [1, "a"]), TypeError, "one type"),
        "no choices": mistake(lambda: empty.Choice("c", []), ValueError),
        "default": mistake(lambda: empty.Choice("c", [1, 2], default=3), ValueError, "default"),
        "ordered": mistake(
            lambda: empty.Choice("c", ["a", "b"], ordered=True), ValueError, "ordered"
        ),
        "not an int": mistake(lambda: empty.Int("i", 0.5, 2), ValueError, "must be an int"),
        "sampling": mistake(lambda: empty.Float("f", 0.0, 1.0, sampling="log"), ValueError),
        "kind of sampling": mistake(
            lambda: empty.Float("f", 1.0, 2.0, sampling="cubic"), ValueError, "sampling"
        ),
        "fixed": mistake(lambda: empty.Fixed("x", [1]), ValueError),
        "boolean": mistake(lambda: empty.Boolean("x", default=None), ValueError),
        "scope": mistake(
            lambda: empty.conditional_scope("nobody", "x").__enter__(), ValueError, "not defined"
        ),
        "classes": [
            hp_module.HyperParameters is kt.HyperParameters,
            type(hp.space[0]) is hp_module.Int,
        ],
        "types": [type(p).__name__ for p in hp.space],
    }
