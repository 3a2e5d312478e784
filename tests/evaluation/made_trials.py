"""Searches that did not take place: predictions of made-up networks, whose score is known."""

import dataclasses
import math

import numpy as np

from glimr_keras.evaluation.estimate import estimate
from glimr_keras.evaluation.kept_trials import KeptTraining, KeptTrial
from glimr_keras.evaluation.scorers import MeanOfSamples, SharedPairs, survival_pairs
from glimr_keras.trials.objective import Objective

SAMPLES, TRIALS, EPOCHS, FOLDS = 200, 12, 10, 5
SCORERS = {
    "accuracy": MeanOfSamples(lambda labels, outputs: ((outputs > 0) == labels).astype(float)),
    "concordance": SharedPairs(survival_pairs),
}


def permuted(seed, score_at, kind):
    """Return the estimate of a search whose labels have nothing to do with the inputs."""
    found, _ = _searched(seed, score_at, kind, signal=0.0)
    return found


def few(seed):
    """Return the estimate of a search with few samples and many trials, whose scores are often
    equal; its labels have nothing to do with the inputs.
    """
    found, _ = _searched(seed, "last", "accuracy", signal=0.0, size=24, trials=30, epochs=1)
    return found


def simulated(seed, score_at):
    """Return the estimate of a search, and the true accuracy of the models that it chose."""
    return _searched(seed, score_at, "accuracy", signal=0.6)


def _searched(seed, score_at, kind, signal, size=SAMPLES, trials=TRIALS, epochs=EPOCHS):
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 2, size)
    time, event = generator.exponential(size=size), generator.random(size) < 0.6
    labels = classes if kind == "accuracy" else np.stack([time, event], axis=1)
    folds = generator.permutation(size) % FOLDS
    shared = generator.normal(size=size)  # networks of one search resemble one another
    deviations = np.sqrt(1 + 0.16 * np.arange(1, epochs + 1))
    made = []
    for _ in range(trials):
        strength = signal * generator.random()
        own = generator.normal(size=size)
        path = np.cumsum(0.4 * generator.normal(size=(epochs, size)), axis=0)
        outputs = math.sqrt(0.5) * (shared + own) + path + strength * (2 * classes - 1)
        kept = {
            fold: _kept(labels[folds == fold], outputs[:, folds == fold]) for fold in range(FOLDS)
        }
        made.append((kept, strength))
    scored = [(*_score(kept, score_at, kind), kept, strength) for kept, strength in made]
    places = sorted(range(trials), key=lambda place: -scored[place][0])
    scored = [(*scored[place], f"{place:04}") for place in places]
    trials = [
        KeptTrial(
            trial_id,
            score,
            [
                KeptTraining(fold, epoch + 1, each.epochs, each)
                for (fold, each), epoch in zip(kept.items(), epochs, strict=True)
            ],
        )
        for score, epochs, kept, _, trial_id in scored
    ]
    _, epochs, kept, strength, _ = scored[0]
    truth = np.mean([_normal(strength / deviations[epoch]) for epoch in epochs])
    found = estimate(
        trials,
        Objective("val_score", "max"),
        score_at,
        SCORERS[kind],
        {fold: each.labels for fold, each in kept.items()},
        resamples=200,
        confidence=0.95,
        seed=seed,
    )
    return found, truth


@dataclasses.dataclass(frozen=True)
class Made:
    """Predictions as a project has them, by epoch."""

    labels: np.ndarray
    by_epoch: dict[int, np.ndarray]
    weights: None = None
    samples: None = None
    groups: None = None

    @property
    def epochs(self):
        return tuple(self.by_epoch)

    def at(self, epoch):
        return self.by_epoch[epoch]


def _kept(labels, outputs):
    return Made(labels, dict(enumerate(outputs.astype("float32"), start=1)))


def _score(kept, score_at, kind):
    """Return the score of a trial as a search has it, and the epoch of each fold, from 0."""
    curves = np.array(
        [
            [
                SCORERS[kind].scores(each.labels, each.at(epoch), np.ones((1, len(each.labels))))[0]
                for epoch in each.epochs
            ]
            for each in kept.values()
        ]
    )
    if score_at == "common":
        epochs = [curves.mean(axis=0).argmax()] * FOLDS
    elif score_at == "last":
        epochs = [curves.shape[1] - 1] * FOLDS
    else:
        epochs = curves.argmax(axis=1)
    return curves[np.arange(FOLDS), epochs].mean(), epochs


def _normal(value):
    return 0.5 * (1 + math.erf(value / math.sqrt(2)))
