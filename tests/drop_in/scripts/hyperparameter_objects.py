"""The objects in `HyperParameters.space`: their values, defaults, probabilities, samples and
configurations.
"""

from keras_tuner.engine import hyperparameters as hp_module
from keras_tuner.engine.hyperparameters import (
    Boolean,
    Choice,
    Fixed,
    Float,
    HyperParameter,
    Int,
    deserialize,
    serialize,
)


def rounded(value):
    return round(value, 9) if isinstance(value, float) else value


def main(directory, **tuner_options):
    objects = {
        "int": Int("int", min_value=0, max_value=9),
        "int step": Int("int_step", 8, 64, step=8, default=16),
        "int default": Int("int_default", 1, 9, default=1),
        "float default": Float("float_default", 1.0, 9.0, default=1.0),
        "int log": Int("int_log", 1, 1024, sampling="log"),
        "int log step": Int("int_log_step", 2, 32, step=2, sampling="log"),
        "float": Float("float", -1.0, 1.0),
        "float step": Float("float_step", 0.0, 1.0, step=0.25),
        "float log": Float("float_log", 1e-4, 1e-1, sampling="log", default=1e-3),
        "float reverse": Float("float_reverse", 1.0, 10.0, sampling="reverse_log"),
        "choice": Choice("choice", ["a", "b", "c"], default="b"),
        "numbers": Choice("numbers", [1, 2, 4, 8]),
        "boolean": Boolean("boolean", default=True),
        "fixed": Fixed("fixed", value=3),
    }
    findings = {}
    for name, parameter in objects.items():
        config = parameter.get_config()
        probabilities = [
            0.0,
            0.12,
            0.34,
            0.56,
            0.71,
            0.93,
            0.999,
        ]  # not where one value ends and the next begins
        values = [parameter.prob_to_value(p) for p in probabilities]
        samples = [parameter.random_sample(seed) for seed in range(20)]
        possible = sorted(parameter.values)
        findings[name] = {
            "name": parameter.name,
            "default": parameter.default,
            "conditions": parameter.conditions,
            "config": config,
            "again": type(parameter).from_config(config).get_config() == config,
            "serialized": deserialize(serialize(parameter)).get_config() == config,
            "values": [rounded(value) for value in values],
            "back": [rounded(parameter.value_to_prob(value)) for value in values],
            "possible": [rounded(value) for value in possible]
            if "float" not in name or "step" in name
            else len(possible),
            "repeated": samples == [parameter.random_sample(seed) for seed in range(20)],
            "kinds": sorted({type(value).__name__ for value in samples}),
        }
        if name in (
            "choice",
            "numbers",
            "boolean",
            "int step",
            "float step",
            "fixed",
            "int log step",
        ):
            findings[name]["samples are possible"] = set(map(rounded, samples)) <= set(
                map(rounded, possible)
            )
    sampled = [objects["float log"].random_sample(seed) for seed in range(50)]
    return {
        "objects": findings,
        "inside": all(1e-4 <= value <= 1e-1 for value in sampled),
        "attributes": [
            objects["int"].min_value,
            objects["int"].max_value,
            objects["int"].step,
            objects["int"].sampling,
        ],
        "more": [
            objects["numbers"].ordered,
            objects["choice"].ordered,
            objects["fixed"].value,
            objects["int log"].step,
        ],
        "base": all(isinstance(parameter, HyperParameter) for parameter in objects.values()),
        "module": hp_module.Int is Int,
    }
