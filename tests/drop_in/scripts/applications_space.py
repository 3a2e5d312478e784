"""Ready-made hypermodels: their search spaces, and the model for the smallest's defaults."""

import keras_tuner as kt
from keras_tuner.applications import HyperImageAugment, HyperResNet, HyperXception


def main(directory, **tuner_options):
    findings = {}
    for name, hypermodel in {
        "resnet": HyperResNet(input_shape=(32, 32, 3), classes=10),
        "xception": HyperXception(input_shape=(71, 71, 3), classes=4),
        "augment": HyperImageAugment(input_shape=(16, 16, 3), augment_layers=2),
    }.items():
        hp = kt.HyperParameters()
        if name == "resnet":
            hp.values.update({"conv3_depth": 4, "conv4_depth": 6})
        model = hypermodel.build(hp)
        findings[name] = {
            "space": {p.name: type(p).__name__ for p in hp.space},
            "defaults": {p.name: p.default for p in hp.space},
            "choices": {p.name: list(p.values) for p in hp.space if type(p).__name__ == "Choice"},
            "output": list(model.output_shape),
            "compiled": model.compiled,
            "base": isinstance(hypermodel, kt.HyperModel),
        }
    for what in ({"classes": 10}, {"input_shape": (32, 32, 3)}):
        try:
            HyperResNet(**what)
            findings[next(iter(what))] = "no error"
        except ValueError as error:
            findings[next(iter(what))] = [word in str(error) for word in ("input_shape", "classes")]
    return findings
