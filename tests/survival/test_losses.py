"""Losses of survival analysis: values, gradients, ties, weights and what is missing."""

import keras
import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.linear_model.coxph import CoxPHOptimizer
from sksurv.util import Surv

from glimr_keras.survival import CoxPartialLikelihood, DiscreteHazard, survival_target
from tests.survival.cohorts import Cohort, gradient, vector_model

TIES = ["efron", "breslow"]
CUTS = [2.0, 5.0, 10.0]


def value(loss, *arguments):
    return keras.ops.convert_to_numpy(loss(*map(np.asarray, arguments)))


def cox(time, event, hazard, ties, weight=None):
    """The sum over events, written down as in R's documentation of `coxph`, in float64."""
    weight = np.ones(len(time)) if weight is None else weight
    total = 0.0
    for moment in np.unique(time[event]):
        died = event & (time == moment)
        at_risk = time >= moment
        count = died.sum()
        for place in range(count):
            share = place / count if ties == "efron" else 0
            inside = weight * np.exp(hazard) * (at_risk - share * died)
            total += weight[died].mean() * np.log(inside.sum())
        total -= (weight * hazard)[died].sum()
    return total


def differences(function, at, step=1e-6):
    """The gradient by central differences."""
    return np.array(
        [
            (function(at + step * unit) - function(at - step * unit)) / (2 * step)
            for unit in np.eye(len(at))
        ]
    )


# Cox


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("tied_times", [True, False])
def test_the_partial_likelihood_is_that_of_scikit_survival(ties, tied_times):
    cohort = Cohort(300, ties=tied_times)
    other = CoxPHOptimizer(
        cohort.risk[:, None].astype(float), cohort.event, cohort.time, np.zeros(1), ties
    ).nlog_likelihood(np.ones(1))
    found = value(CoxPartialLikelihood(ties), cohort.target, cohort.risk[:, None])
    assert found == pytest.approx(other, rel=1e-6)


def test_ties_differ():
    cohort = Cohort(100)
    one, other = (value(CoxPartialLikelihood(ties), cohort.target, cohort.risk) for ties in TIES)
    assert one < other


@pytest.mark.parametrize("ties", TIES)
def test_the_gradient_is_that_of_the_likelihood(ties):
    cohort = Cohort(40)
    weight = np.random.default_rng(1).integers(0, 3, 40).astype(float)
    kept = weight > 0

    def of(hazard):
        return cox(cohort.time[kept], cohort.event[kept], hazard, ties, weight[kept]) / 40

    found = gradient(CoxPartialLikelihood(ties), cohort.target, cohort.risk[:, None], weight)
    expected = np.zeros(40)
    expected[kept] = differences(of, cohort.risk[kept].astype(float))
    assert found[:, 0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ties", TIES)
def test_the_gradient_where_all_hazards_are_the_same(ties):
    """As at the begin of a training, where a maximum is of all of them."""
    cohort = Cohort(30)
    expected = differences(
        lambda hazard: cox(cohort.time, cohort.event, hazard, ties) / 30, np.zeros(30)
    )
    found = gradient(CoxPartialLikelihood(ties), cohort.target, np.zeros((30, 1)))
    assert found[:, 0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ties", TIES)
def test_large_hazards_neither_overflow_nor_vanish(ties):
    """Those at risk last are e^-180 of those at risk first, which is 0 in float32."""
    cohort = Cohort(50)
    hazard = np.where(cohort.time > np.median(cohort.time), -90.0, 90.0) + cohort.risk
    for shift in (0.0, 2.0**17):
        shifted = (hazard + shift).astype("float32")
        expected = cox(cohort.time, cohort.event, shifted.astype(float) - shift, ties) / 50
        found = value(CoxPartialLikelihood(ties), cohort.target, shifted[:, None])
        assert found == pytest.approx(expected, rel=1e-6)
    slope = gradient(CoxPartialLikelihood(ties), cohort.target, hazard[:, None])
    expected = differences(lambda at: cox(cohort.time, cohort.event, at, ties) / 50, hazard)
    assert slope[:, 0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("ties", TIES)
def test_all_at_one_time_with_huge_hazards(ties):
    target = survival_target(np.ones(64), np.ones(64))
    hazard = np.linspace(-1e4, 1e4, 64)[:, None]
    assert np.isfinite(value(CoxPartialLikelihood(ties), target, hazard))
    assert np.isfinite(gradient(CoxPartialLikelihood(ties), target, hazard)).all()


@pytest.mark.parametrize("ties", TIES)
def test_who_is_censored_at_the_time_of_an_event_and_of_no_risk_has_a_gradient(ties):
    target = survival_target([1, 1, 1, np.nan], [1, 1, 0, 1], missing=True)
    slope = gradient(CoxPartialLikelihood(ties), target, [[0.0], [0.0], [-1e4], [1e4]])
    assert slope[:, 0] == pytest.approx(np.zeros(4), abs=1e-6)


@pytest.mark.parametrize("ties", TIES)
def test_a_batch_without_an_event_has_no_loss(ties):
    target = survival_target([1, 2, 3], [0, 0, 0])
    loss = CoxPartialLikelihood(ties)
    assert value(loss, target, [[5.0], [-3.0], [1e4]]) == 0
    assert (gradient(loss, target, [[5.0], [-3.0], [1e4]]) == 0).all()


@pytest.mark.parametrize("ties", TIES)
def test_what_is_missing_or_of_weight_0_is_as_if_it_were_not_there(ties):
    cohort = Cohort(30)
    loss = CoxPartialLikelihood(ties, reduction="sum")
    chosen = np.arange(30) % 3 > 0
    expected = value(loss, cohort.target[chosen], cohort.risk[chosen, None])
    missing = np.where(chosen[:, None], cohort.target, np.nan)
    assert value(loss, missing, cohort.risk[:, None]) == pytest.approx(expected, rel=1e-6)
    weighted = value(loss, cohort.target, cohort.risk[:, None], chosen.astype("float32"))
    assert weighted == pytest.approx(expected, rel=1e-6)
    slope = gradient(loss, missing, cohort.risk[:, None])
    assert np.isfinite(slope).all()
    assert (slope[~chosen] == 0).all()


def test_weights_count_samples():
    """With Breslow's ties exactly as often as they say."""
    cohort = Cohort(30)
    weight = np.random.default_rng(0).integers(1, 4, 30)
    loss = CoxPartialLikelihood("breslow", reduction="sum")
    expected = value(loss, cohort.target.repeat(weight, 0), cohort.risk.repeat(weight)[:, None])
    assert value(loss, cohort.target, cohort.risk[:, None], weight) == pytest.approx(expected)
    mean = CoxPartialLikelihood("breslow", reduction="mean_with_sample_weight")
    found = value(mean, cohort.target, cohort.risk[:, None], weight[:, None])
    assert found == pytest.approx(expected / weight.sum())


def test_without_reduction_the_loss_of_an_event_is_at_its_sample():
    target = survival_target([3, 1, 2], [1, 1, 0])
    found = value(CoxPartialLikelihood(reduction=None), target, [[0.0], [0.0], [0.0]])
    assert found == pytest.approx([0, np.log(3), 0])


def test_a_network_without_hidden_layers_becomes_the_model_of_scikit_survival():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 2)).astype("float32")
    death = generator.exponential(np.exp(-x @ [1.0, -0.5]))
    time, event = np.ceil(np.minimum(death, 1.0) * 20), death < 1.0
    expected = CoxPHSurvivalAnalysis(ties="efron").fit(x, Surv.from_arrays(event, time)).coef_
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), CoxPartialLikelihood())
    model.fit(x, survival_target(time, event), batch_size=200, epochs=100, verbose=0)
    assert model.get_weights()[0][:, 0] == pytest.approx(expected, abs=1e-4)


# Discrete hazards


def discrete(time, event, logits):
    """The likelihood, one interval after the other."""
    hazard = 1 / (1 + np.exp(-np.asarray(logits, float)))
    loss, begin = 0.0, 0.0
    for end, of in zip(CUTS, hazard, strict=True):
        if event and begin < time <= end:
            return loss - np.log(of)
        if time <= end and not (not event and time >= (begin + end) / 2):
            return loss
        loss -= np.log(1 - of)
        begin = end
    return loss


@pytest.mark.parametrize("event", [0, 1])
@pytest.mark.parametrize("time", [0.5, 1, 1.5, 2, 3, 3.5, 4, 5, 5.5, 10, 20])
def test_the_likelihood_of_discrete_hazards(time, event):
    logits = [0.3, -1.2, 2.0]
    found = value(DiscreteHazard(CUTS), survival_target([time], [event]), [logits])
    assert found == pytest.approx(discrete(time, event, logits), rel=1e-6)


def test_an_event_at_0_is_in_the_first_interval():
    found = value(DiscreteHazard(CUTS), survival_target([0], [1]), [[0.3, -1.2, 2.0]])
    assert found == pytest.approx(np.log1p(np.exp(-0.3)), rel=1e-6)


def test_discrete_hazards_of_a_batch_and_their_gradient():
    generator = np.random.default_rng(0)
    time, event = generator.integers(1, 13, 20), generator.integers(0, 2, 20)
    logits = generator.normal(size=(20, 3)).astype("float32")
    weight = generator.random(20).astype("float32")

    def of(flat):
        rows = zip(time, event, flat.reshape(20, 3), weight, strict=True)
        return sum(discrete(*row) * each for *row, each in rows) / 20

    target, loss = survival_target(time, event), DiscreteHazard(CUTS)
    assert value(loss, target, logits, weight) == pytest.approx(of(logits), rel=1e-6)
    found = gradient(loss, target, logits, weight).ravel()
    assert found == pytest.approx(differences(of, logits.ravel().astype(float)), abs=1e-6)


def test_large_logits_and_missing_labels():
    target = survival_target([1, 3, np.nan], [1, 1, 1], missing=True)
    logits = np.array([[-1e4, 0, 0], [-1e4, 1e4, 0], [1e4, 1e4, 1e4]])
    assert value(DiscreteHazard(CUTS, reduction="sum"), target, logits) == pytest.approx(1e4)
    slope = gradient(DiscreteHazard(CUTS, reduction="sum"), target, logits)
    assert np.isfinite(slope).all()
    assert (slope[2] == 0).all()


# All


LOSSES = [CoxPartialLikelihood("breslow", "sum", "mine"), DiscreteHazard(CUTS, None)]


@pytest.mark.parametrize("loss", LOSSES, ids=["cox", "discrete"])
def test_losses_go_through_files(loss):
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("loss", "columns"), [(CoxPartialLikelihood(), 1), (DiscreteHazard(CUTS), 3)]
)
def test_models_are_trained_compiled(loss, columns, jit):
    if jit and keras.backend.backend() == "torch":
        pytest.skip("PyTorch needs a compiler for this")
    cohort = Cohort(50)
    model = vector_model(np.zeros((50, columns)), loss, jit_compile=jit)
    x = np.eye(50, dtype="float32")
    before = model.evaluate(x, cohort.target, batch_size=50, verbose=0)
    model.fit(x, cohort.target, batch_size=20, epochs=3, verbose=0)
    assert model.evaluate(x, cohort.target, batch_size=50, verbose=0) < before


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CoxPartialLikelihood("exact"), "`ties` must be one of"),
        (lambda: DiscreteHazard([]), "`cuts` must be a list of finite numbers"),
        (lambda: DiscreteHazard([0, 1]), "`cuts` must ascend from above 0"),
        (lambda: DiscreteHazard([1, 1 + 1e-9]), "`cuts` must ascend from above 0"),
        (lambda: CoxPartialLikelihood()(np.ones(3), np.ones((3, 1))), r"shape \(samples, 2\)"),
        (lambda: CoxPartialLikelihood()(np.ones((3, 2)), np.ones((3, 2))), "one output for each"),
        (lambda: DiscreteHazard(CUTS)(np.ones((3, 2)), np.ones((3, 2))), "each of 3 intervals"),
    ],
)
def test_what_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
