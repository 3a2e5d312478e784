"""Tunes a multiple-instance model of two tasks, grade and survival, on made slides.

    pip install -e '.[sklearn]'
    python examples/mil.py

It takes about a minute on two cores, and `--quick` half of that. Nothing is downloaded.

A bag is a slide: the features of its tiles, of which there are as many as there is tissue. It is so
in pathology, where a network that was trained on other images makes a vector of each tile. Only the
patient has labels: a grade, and how long they lived. Most of the tiles say nothing of them; a few
show a tumour, and how it looks decides. That these are what matters has to be found out. And as
everywhere, labels have gaps: some patients have no grade, and of others nobody knows what became.

Each tile is encoded by the same layers, and a slide's tiles are pooled by a weighted mean, whose
weights are learned from them: the gated attention of Ilse, Tomczak and Welling (2018),
https://arxiv.org/abs/1802.04712. A cross validation keeps the slides of a patient in one fold. At
the end, its models together predict slides of patients that no search has seen, and their attention
shows where the tumour is.
"""

import argparse
import tempfile
import time

import glimr_keras as gk
import keras
import numpy as np
from glimr_keras import survival

FEATURES, GRADES = 24, 3


# The slides


def make_slides(patients, seed):
    """Draws patients with one or two slides each.

    Returns:
        The tiles of each slide, shape (tiles, features), float16; which of them are of the tumour;
        the patient of each slide; and its labels: grade, days and whether the patient died.
    """
    random = np.random.default_rng(seed)
    looks = np.random.default_rng(0).normal(size=(GRADES, FEATURES))  # of a tumour, by its grade
    slides, tumours, of, grades, days, died = [], [], [], [], [], []
    for patient in range(patients):
        grade = random.integers(GRADES)
        lived, seen = random.exponential(1000 / 4.0**grade), random.uniform(100, 1500)
        for _ in range(random.integers(1, 2, endpoint=True)):
            tiles = random.normal(size=(random.integers(10, 120), FEATURES))
            is_tumour = np.arange(len(tiles)) < random.integers(2, 6)
            tiles[is_tumour] += 1.5 * looks[grade]
            order = random.permutation(len(tiles))
            slides.append(tiles[order].astype("float16"))
            tumours.append(is_tumour[order])
            of.append(patient)
            grades.append(grade)
            days.append(round(min(lived, seen), 1))
            died.append(lived <= seen)
    return slides, tumours, np.array(of), np.array(grades), np.array(days), np.array(died)


def with_gaps(patients, grades, days, died, seed):
    """Labels as there are: -1 where there is no grade, and nan where nobody knows what became of a
    patient.
    """
    random = np.random.default_rng(seed)
    lacks_grade, lacks_survival = (
        (random.random(patients.max() + 1) < share)[patients] for share in (0.2, 0.3)
    )
    target = survival.survival_target(np.where(lacks_survival, np.nan, days), died, missing=True)
    return {"grade": np.where(lacks_grade, -1, grades), "survival": target}


# The model


def build(config):
    """The model of a configuration. Its outputs are the two tasks, and the attention."""
    bag = keras.Input((None, FEATURES), name="bag")
    mask = keras.Input((None,), dtype="bool", name="mask")
    hidden = keras.layers.Dropout(config.Float("tile_dropout", 0.0, 0.3))(bag)
    hidden = keras.layers.Dense(config.Choice("units", [16, 32, 64]), activation="relu")(hidden)
    pooled, attention = gk.layers.GatedAttentionPooling(
        config.Choice("attention", [16, 32]), config.Boolean("gated"), return_attention=True
    )(hidden, mask=mask)
    outputs = {
        "grade": keras.layers.Dense(GRADES, activation="softmax", name="grade")(pooled),
        "survival": keras.layers.Dense(1, name="survival")(pooled),  # the log hazard
        "attention": attention,
    }
    model = keras.Model({"bag": bag, "mask": mask}, outputs)
    model.compile(
        keras.optimizers.Adam(config.Float("learning_rate", 5e-3, 5e-2, sampling="log")),
        loss={
            "grade": gk.MaskedLoss("sparse_categorical_crossentropy", missing=-1),
            "survival": gk.MaskedLoss(survival.CoxPartialLikelihood()),
            "attention": None,  # no task
        },
        metrics={
            "grade": [gk.MaskedMetric("SparseCategoricalAccuracy", missing=-1, name="accuracy")],
            "survival": [survival.ConcordanceIndex()],
        },
    )
    return model


# What came out


def show_attention(weights, tumours):
    """Prints the weights in one slide, and how often the highest is that of the tumour."""
    slide = min(range(len(weights)), key=lambda place: len(weights[place]))
    print("\nthe attention in one slide:")
    for tile in np.argsort(-weights[slide])[:8]:
        name = "tumour" if tumours[slide][tile] else "other"
        bar = "█" * round(40 * weights[slide][tile])
        print(f"  {name:6}  {weights[slide][tile]:.3f}  {bar}")
    found = [is_tumour[shares.argmax()] for shares, is_tumour in zip(weights, tumours, strict=True)]
    print(
        f"the highest weight is that of a tile of the tumour in {np.mean(found):.0%} of "
        f"{len(weights)} slides"
    )


def main(trials, epochs):
    """Searches, and looks at what the best models say of new patients."""
    started = time.monotonic()
    slides, _, patients, *labels = make_slides(120, seed=1)
    bags = gk.Bags(slides, with_gaps(patients, *labels, seed=2), batch_size=64)
    print(
        f"{bags.num_bags} slides of {patients.max() + 1} patients, {bags.sizes.min()} to "
        f"{bags.sizes.max()} tiles"
    )
    with tempfile.TemporaryDirectory() as directory:
        tuner = gk.RayTuner(
            build, "val_loss", max_trials=trials, cv_folds=3, seed=0, directory=directory
        )
        tuner.search(bags, groups=patients, epochs=epochs)
        tuner.results_summary(1)
        model = gk.ensemble(tuner.get_best_models())

    slides, tumours, _, grades, days, died = make_slides(60, seed=3)
    bags = gk.Bags(slides, batch_size=32, pad_to="largest")  # of one shape, for the attention
    predicted = model.predict(bags, verbose=0)
    accuracy = np.mean(predicted["grade"].argmax(axis=1) == grades)
    concordance = survival.concordance_index(days, died, predicted["survival"][:, 0])
    print(f"\n{bags.num_bags} slides of 60 patients that no search has seen:")
    print(f"accuracy of the grade {accuracy:.4f}")
    print(f"concordance of the survival {concordance:.4f}")
    show_attention(bags.unpadded(predicted["attention"]), tumours)
    print(f"\n{trials} configurations, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, help="configurations, by default 4")
    parser.add_argument("--quick", action="store_true", help="2 configurations only")
    given = parser.parse_args()
    main(given.trials or (2 if given.quick else 4), epochs=15)
