"""Tunes attention-based multiple-instance learning on bags of handwritten digits, with glimr's
interface: `Search`.

    pip install -e '.[examples]'
    python examples/mil.py

It takes one or two minutes on two cores, and `--quick` less. Nothing is downloaded: the digits come
with scikit-learn.

A bag is a set of images, and it is positive if a 9 is among them. Only bags have labels; that 9 is
what matters has to be found out. So it is with slides in pathology, of which one knows that there
is a tumour somewhere. Bags have different sizes, and are padded, with a mask that says what is
there.

Each image is encoded by the same layers. Then a bag's images are pooled by a weighted mean, whose
weights are learned from the images: the attention of Ilse, Tomczak and Welling (2018),
https://arxiv.org/abs/1802.04712, with or without their gate. Plain mean and maximum are in the
search space too, which have no weights to show. The encoder, the attention's size and the
optimization are searched as well. At the end, the weights in a bag that no model has seen show what
the best attention has learned. (Validation and test bags are made of some 40 different 9s each, so
the figures of the two differ by a few hundredths.)
"""

import argparse
import tempfile
import time

import glimr_keras as gk
import keras
import numpy as np
import sklearn.datasets
import sklearn.model_selection
import tensorflow as tf
from keras import ops
from ray import tune
from ray.tune.search.optuna import OptunaSearch

POSITIVE = 9


# The bags


def load_images():
    """1,797 images of 64 pixels, split into training, validation and test parts, each `(images,
    digits)`.
    """
    images, digits = sklearn.datasets.load_digits(return_X_y=True)
    noise = np.random.default_rng(0).normal(scale=0.15, size=images.shape)  # or it is too easy
    images = (images / 16.0 + noise).astype("float32")
    split = sklearn.model_selection.train_test_split
    images, test_images, digits, test_digits = split(
        images, digits, test_size=0.25, stratify=digits, random_state=0
    )
    images, val_images, digits, val_digits = split(
        images, digits, test_size=0.3, stratify=digits, random_state=0
    )
    return (images, digits), (val_images, val_digits), (test_images, test_digits)


def make_bags(images, digits, bags, smallest, largest, seed):
    """Draws bags, of which half are positive.

    Returns:
        `x`, a dict of `instances`, shape (bags, largest, 64), and `present`, shape (bags, largest),
        1 for an image and 0 for padding; and the digits, shape (bags, largest), -1 for padding.
    """
    random = np.random.default_rng(seed)
    positive, negative = np.flatnonzero(digits == POSITIVE), np.flatnonzero(digits != POSITIVE)
    x = {
        "instances": np.zeros((bags, largest, 64), "float32"),
        "present": np.zeros((bags, largest), "float32"),
    }
    drawn = np.full((bags, largest), -1)
    for bag in range(bags):
        size = random.integers(smallest, largest, endpoint=True)
        chosen = random.choice(negative, size)
        if bag % 2:
            place = random.choice(
                size, random.integers(1, 2, endpoint=True), replace=False
            )  # one or two
            chosen[place] = random.choice(positive, len(place))
        x["instances"][bag, :size], x["present"][bag, :size], drawn[bag, :size] = (
            images[chosen],
            1,
            digits[chosen],
        )
    return x, drawn


def labels_of(drawn):
    """The labels of bags by task, shape (bags, 1)."""
    return {"nine": (drawn == POSITIVE).any(axis=1, keepdims=True).astype("float32")}


def loader(batch_size, bags, smallest, largest):
    """What the section `data` of the space says. Training and validation bags have no image in
    common.
    """
    train, validation, _ = load_images()
    x, drawn = make_bags(*train, bags, smallest, largest, seed=1)
    x_val, drawn_val = make_bags(*validation, bags // 2, smallest, largest, seed=2)
    training = (
        tf.data.Dataset.from_tensor_slices((x, labels_of(drawn)))
        .shuffle(bags, seed=0)
        .batch(batch_size)
    )
    return training, tf.data.Dataset.from_tensor_slices((x_val, labels_of(drawn_val))).batch(
        batch_size
    )


# The model


class AttentionPooling(keras.layers.Layer):
    """A weighted mean of the instances of each bag. Returns the mean, shape (batch, features), and
    the weights.

    Args:
        units: Of the attention's hidden layer.
        gated: Whether it is multiplied by a gate, equation 9 of Ilse et al.; else it is equation 8.
    """

    def __init__(self, units, gated, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(units, activation="tanh")
        self.gate = keras.layers.Dense(units, activation="sigmoid") if gated else None
        self.score = keras.layers.Dense(1, use_bias=False)

    def call(self, instances, present):
        hidden = self.hidden(instances)
        if self.gate is not None:
            hidden *= self.gate(instances)
        scores = ops.where(present > 0, self.score(hidden)[..., 0], -1e9)  # nothing for padding
        weights = ops.softmax(scores, axis=1)
        return ops.sum(weights[..., None] * instances, axis=1), weights


class PlainPooling(keras.layers.Layer):
    """The mean or maximum of the instances of each bag."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, instances, present):
        present = present[..., None]
        if self.kind == "mean":
            return ops.sum(present * instances, axis=1) / ops.sum(present, axis=1)
        return ops.max(ops.where(present > 0, instances, -1e9), axis=1)


SPACE = {
    "encoder": {
        "layers": tune.randint(1, 3),  # 1 or 2
        "units": tune.choice([32, 64, 128]),
        "activation": tune.choice(["relu", "gelu", "tanh"]),
        "dropout": tune.quniform(0.0, 0.4, 0.1),
    },
    "pooling": tune.choice(
        [
            {
                "name": "attention",
                "units": tune.choice([16, 32, 64]),
                "gated": tune.choice([True, False]),
            },
            {"name": "mean"},
            {"name": "max"},
        ]
    ),
    "tasks": {
        "nine": {
            "loss": {"name": "BinaryCrossentropy"},
            "loss_weight": 1.0,
            "metrics": [
                {"name": "auc", "metric": keras.metrics.AUC},
                {"name": "accuracy", "metric": keras.metrics.BinaryAccuracy},
            ],
        }
    },
    "optimization": gk.optimization_space(
        epochs=20,
        method=tune.choice(["adam", "rms"]),
        learning_rate=tune.loguniform(5e-4, 1e-2),
        momentum=0.0,
    ),
    "data": {"batch_size": tune.choice([16, 32, 64]), "bags": 400, "smallest": 5, "largest": 20},
}


def builder(config):
    """The model of a configuration, and how it is compiled; `config` is nested dicts, with the
    sections of the space.
    """
    instances = keras.Input((config["data"]["largest"], 64), name="instances")
    present = keras.Input((config["data"]["largest"],), name="present")
    encoder, pooling = config["encoder"], config["pooling"]
    hidden = instances
    for _ in range(encoder["layers"]):  # a dense layer is applied to each instance
        hidden = keras.layers.Dense(encoder["units"], activation=encoder["activation"])(hidden)
        hidden = keras.layers.Dropout(encoder["dropout"])(hidden)
    if pooling["name"] == "attention":
        bag, _ = AttentionPooling(pooling["units"], pooling["gated"], name="attention")(
            hidden, present
        )
    else:
        bag = PlainPooling(pooling["name"])(hidden, present)
    output = keras.layers.Dense(1, activation="sigmoid", name="nine")(bag)
    model = keras.Model({"instances": instances, "present": present}, output)
    return model, *gk.keras_losses(config), gk.keras_metrics(config)


# What came out


def show_attention(model, x, drawn):
    """Prints the weights in one positive bag, and how often the highest of a positive bag is that
    of a 9.
    """
    weigh = keras.Model(model.inputs, model.get_layer("attention").output[1])
    weights = ops.convert_to_numpy(weigh([x[each.name] for each in model.inputs]))
    positive = np.flatnonzero((drawn == POSITIVE).any(axis=1))
    found = drawn[positive, weights[positive].argmax(axis=1)] == POSITIVE
    bag = positive[0]
    order = [place for place in np.argsort(-weights[bag]) if drawn[bag, place] >= 0]
    print("\nthe best attention in one bag, digit and weight:")
    for place in order:
        print(
            f"  {drawn[bag, place]}  {weights[bag, place]:.3f}  "
            f"{'█' * round(40 * weights[bag, place])}"
        )
    print(
        f"the highest weight is that of a {POSITIVE} in {found.mean():.0%} of {len(positive)} "
        "positive bags"
    )


def main(trials):
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        search = gk.Search(SPACE, builder, loader, metric="nine_auc", mode="max")
        results = search.experiment(
            directory, "mil", num_samples=trials, search_alg=OptunaSearch(seed=1)
        )
        table = gk.config_table(gk.experiment_table(search.tuner), "nine_auc")
        print("\nbest validation AUC of each pooling:")
        print(table.groupby("config/pooling")["mean_nine_auc"].agg(["max", "size"]).to_string())
        best = results.get_best_result(scope="all")
        print(f"\nbest configuration: {best.config}")
        epoch = best.metrics_dataframe.loc[best.metrics_dataframe["nine_auc"].idxmax()]
        print(f"validation AUC {epoch['nine_auc']:.4f}, accuracy {epoch['nine_accuracy']:.4f}")

        shape = {name: SPACE["data"][name] for name in ("smallest", "largest")}
        x, drawn = make_bags(*load_images()[2], bags=400, **shape, seed=3)
        model = search.tuner.get_best_models()[0]
        found = model.evaluate(x, labels_of(drawn)["nine"], verbose=0, return_dict=True)
        print(
            f"test AUC {found['auc']:.4f}, accuracy {found['accuracy']:.4f}, on 400 bags of images "
            "that no search has seen"
        )

        kinds = [
            config["pooling"]["name"] for config in search.tuner.get_best_hyperparameters(trials)
        ]
        if "attention" in kinds:
            place = kinds.index("attention")
            show_attention(search.tuner.get_best_models(place + 1)[place], x, drawn)
        else:
            print("no configuration had attention; try more of them")
    print(f"{trials} configurations, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, help="configurations, by default 24")
    parser.add_argument("--quick", action="store_true", help="6 configurations only")
    given = parser.parse_args()
    main(given.trials or (6 if given.quick else 24))
