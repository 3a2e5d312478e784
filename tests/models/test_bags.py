"""Bags of any size: their batches, their order, and what becomes of them in a search."""

import pickle

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.errors import DataError
from glimr_keras.models.bags import bags_hint, rounded
from glimr_keras.models.data import FitArguments, shapes_of, with_batches_of_bags

RNG = np.random.default_rng(0)
SIZES = [3, 20, 5, 9, 40, 7, 11]
BAGS = [np.full((size, 2), place + 1, "float16") for place, size in enumerate(SIZES)]
PLACES = np.arange(7)


def order(bags):
    """The bags in the order in which batches have them."""
    return [int(row[0, 0]) - 1 for batch in bags for row in batch[0]["bag"]]


def test_a_batch_is_padded_and_its_mask_says_what_is_there():
    bags = gk.Bags(BAGS, {"a": PLACES, "b": None}, PLACES + 0.5, batch_size=3)
    assert (len(bags), bags.num_batches, bags.num_bags) == (3, 3, 7)
    x, y, weight = bags[0]
    assert x["bag"].shape == (3, 24, 2)
    assert x["bag"].dtype == "float16"
    assert x["mask"].sum(axis=1).tolist() == SIZES[:3]
    assert (x["bag"][x["mask"]] > 0).all()
    assert not x["bag"][~x["mask"]].any()
    assert y["a"].tolist() == [0, 1, 2]
    assert y["b"].shape == (3, 1)
    assert weight.tolist() == [0.5, 1.5, 2.5]
    assert weight.dtype == keras.config.floatx()
    assert [len(batch[0]["bag"]) for batch in bags] == [3, 3, 1]
    with pytest.raises(IndexError):
        bags[3]


def test_batches_have_few_shapes():
    found = {rounded(size) for size in range(1, 10_001)}
    assert len(found) == 22
    assert all(size <= rounded(size) <= max(8, 1.5 * size) for size in range(1, 10_001))


def test_all_batches_may_have_one_shape():
    for pad_to, tiles in (("largest", 40), (64, 64)):
        bags = gk.Bags(BAGS, batch_size=3, pad_to=pad_to)
        assert {batch[0]["bag"].shape[1] for batch in bags} == {tiles}
    assert gk.Bags(BAGS, pad_to="largest").taken([0, 1])[0][0]["bag"].shape == (2, 40, 2)
    with pytest.raises(ValueError, match="at least the tiles of the largest bag, 40"):
        gk.Bags(BAGS, pad_to=39)


def test_some_of_the_bags_and_other_arguments():
    bags = gk.Bags(BAGS, PLACES, batch_size=3, inputs={"age": PLACES[:, None]}, workers=2)
    some = bags.taken([5, 1])
    assert order(some) == some.y.tolist() == some.inputs["age"][:, 0].tolist() == [5, 1]
    assert some.bags[0] is BAGS[5]
    assert (some.batch_size, some.workers) == (3, 2)
    assert order(bags.taken(PLACES > 3)) == [4, 5, 6]
    assert bags.replace(batch_size=1).num_batches == 7
    with pytest.raises(TypeError, match="other"):
        bags.replace(other=1)


def test_their_order_is_drawn_anew_for_each_epoch_under_a_seed():
    def epochs(bags):
        found = []
        for _ in range(3):
            found.append(order(bags))
            bags.on_epoch_end()
        return found

    bags = gk.Bags(BAGS, PLACES, batch_size=3)
    assert epochs(bags) == [PLACES.tolist()] * 3
    shuffled = epochs(bags.shuffled(1))
    assert all(sorted(each) == PLACES.tolist() for each in shuffled)
    assert len(set(map(tuple, shuffled))) == 3
    assert epochs(bags.shuffled(1).replace(y=None)) == shuffled
    assert epochs(bags.shuffled(2)) != shuffled
    assert all((y == [row[0, 0] - 1 for row in x["bag"]]).all() for x, y in bags.shuffled(1))


def test_bags_that_are_mapped_are_read_in_their_batch_only(tmp_path):
    np.save(tmp_path / "tiles.npy", np.arange(100.0).reshape(50, 2))
    mapped = np.load(tmp_path / "tiles.npy", mmap_mode="r")
    bags = gk.Bags([mapped[:20], mapped[20:25], mapped[25:]])
    assert all(isinstance(bag, np.memmap) for bag in bags.bags)
    x = bags[0][0]
    assert x["bag"].dtype == keras.config.floatx()
    np.testing.assert_array_equal(x["bag"][1, :5], mapped[20:25])


def test_arrays_of_other_libraries_are_bags_too():
    bags = gk.Bags([keras.ops.ones((2, 3)), np.ones((4, 3), "float32")])
    assert bags[0][0]["mask"].sum(axis=1).tolist() == [2, 4]


@pytest.mark.parametrize("large", [False, True])
def test_they_arrive_as_they_were(tmp_path, large):
    tiles = np.memmap(tmp_path / "tiles", "float32", "w+", shape=(300_000, 2))
    tiles[:] = np.arange(600_000).reshape(-1, 2)
    parts = [tiles[:9], tiles[9:200_009]] if large else BAGS
    whole = np.arange(40.0).reshape(20, 2)
    bags = gk.Bags([*parts, whole[:5], whole[5:12], np.asfortranarray(np.ones((3, 2)))], workers=2)
    for _ in range(2):
        arrived = pickle.loads(pickle.dumps(bags))
        assert arrived.workers == 2
        assert [batch[0]["bag"].shape for batch in arrived] == [
            batch[0]["bag"].shape for batch in bags
        ]
        for one, other in zip(arrived.bags, bags.bags, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def test_small_bags_are_sent_as_one_large_array(tmp_path):
    from glimr_keras.transport.serialization import pack, unpack

    bags = gk.Bags([np.full((100, 100), place, "float32") for place in range(60)])
    packed = pack(bags)
    assert len(packed.content) < 2**18
    assert [array.nbytes for array in packed.arrays] == [60 * 40_000]
    again = pack(bags)
    assert again.arrays[0] is packed.arrays[0]
    assert [int(bag[0, 0]) for bag in unpack(packed.content, packed.arrays).bags] == list(range(60))

    tiles = np.memmap(tmp_path / "tiles", "float32", "w+", shape=(5_000, 100))
    packed = pack(gk.Bags([tiles[place : place + 50] for place in range(0, 5_000, 50)]))
    assert len(packed.content) < 2**18
    assert not packed.arrays  # the file is mapped again


def test_a_model_learns_predicts_and_weighs_tiles_on_every_backend():
    tf_or_not = [gk.Bags(BAGS[:4], PLACES[:4], batch_size=2), gk.Bags(BAGS, PLACES, batch_size=2)]
    bag, mask = keras.Input((None, 2), name="bag"), keras.Input((None,), dtype="bool", name="mask")
    pooled, weights = gk.layers.GatedAttentionPooling(4, return_attention=True)(bag, mask=mask)
    model = keras.Model({"bag": bag, "mask": mask}, keras.layers.Dense(1)(pooled))
    model.compile("adam", "mse")
    for bags in tf_or_not:
        model.fit(bags.shuffled(0), validation_data=bags, epochs=3, verbose=0)
        assert model.predict(bags, verbose=0).shape == (bags.num_bags, 1)
    whole = keras.Model(model.inputs, weights).predict(bags.replace(pad_to="largest"), verbose=0)
    found = bags.unpadded(whole)
    assert [len(each) for each in found] == SIZES
    np.testing.assert_allclose([each.sum() for each in found], 1, rtol=1e-5)
    with pytest.raises(ValueError, match=r"must have shape \(7, tiles, …\)"):
        bags.unpadded(whole[:, :39])


def test_padding_changes_nothing():
    bags = gk.Bags([RNG.normal(size=(size, 2)) for size in SIZES], batch_size=7)
    bag, mask = keras.Input((None, 2), name="bag"), keras.Input((None,), dtype="bool", name="mask")
    pooled = gk.layers.GatedAttentionPooling(4)(bag, mask=mask)
    model = keras.Model({"bag": bag, "mask": mask}, pooled)
    found = [
        model.predict(each, verbose=0)
        for each in (bags, bags.replace(pad_to=100), bags.replace(batch_size=1))
    ]
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [[9] * 6 + [40], [9] * 4 + [3] * 3, [9] * 7])
def test_batches_of_sizes_that_come_late_are_trained_on(sizes):
    """Keras on TensorFlow holds an axis for fixed that is of one size in the first two batches."""
    bags = gk.Bags([np.ones((size, 2), "float32") for size in sizes], np.zeros(7), batch_size=1)
    bag, mask = keras.Input((None, 2), name="bag"), keras.Input((None,), dtype="bool", name="mask")
    pooled = gk.layers.GatedAttentionPooling(4)(bag, mask=mask)
    model = keras.Model({"bag": bag, "mask": mask}, keras.layers.Dense(1)(pooled))
    model.compile("adam", "mse")
    assert len(model.fit(bags.shuffled(3), epochs=4, verbose=0).history["loss"]) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gk.Bags([]), "at least one bag"),
        (lambda: gk.Bags([np.ones((2, 3)), np.ones((2, 4))]), r"shapes \(3,\), \(4,\)"),
        (lambda: gk.Bags([np.ones((2, 3)), np.ones((0, 3))]), r"1 empty bags, at \[1\]"),
        (lambda: gk.Bags([np.ones(3)]), r"at 0, an array of shape \(3,\)"),
        (lambda: gk.Bags([np.array([["a"]])]), "must be an array of numbers"),
        (lambda: gk.Bags(BAGS, np.ones(6)), r"`y` must have an entry for each of 7 bags"),
        (lambda: gk.Bags(BAGS, PLACES, [1.0]), "`sample_weight` must have an entry"),
        (lambda: gk.Bags(BAGS, inputs={"age": np.ones(3)}), "`inputs` must have an entry"),
        (lambda: gk.Bags(BAGS, inputs={"mask": PLACES}), "must have other names"),
        (lambda: gk.Bags(BAGS, sample_weight=PLACES), "`sample_weight` needs labels"),
        (lambda: gk.Bags(BAGS, {"a": None}), "must have labels of a task"),
    ],
)
def test_what_are_no_bags_is_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_lists_that_may_be_bags_are_told_from_those_that_are_inputs():
    def arrays(*sizes):
        return [np.zeros((size, 3)) for size in sizes]

    objects = np.empty(2, object)
    objects[:] = arrays(2, 5)
    assert bags_hint(arrays(2, 5)) == bags_hint(arrays(2, 5), np.zeros(2))
    assert "with 2 to 5 rows" in bags_hint(arrays(2, 5))
    assert "glimr_keras.Bags(x, y)" in bags_hint(objects)
    assert bags_hint(arrays(4, 4, 4), np.zeros(3))
    assert not bags_hint(arrays(4, 4, 4), np.zeros(4))
    assert not bags_hint(arrays(3, 3, 3), np.zeros(3))
    assert not bags_hint([np.zeros((4, 3)), np.zeros((5, 2))])
    assert not bags_hint(np.zeros((4, 3)))
    assert not bags_hint([[1, 2], [3]])


def test_what_keras_does_with_arrays_only_is_done_before():
    bags = gk.Bags(BAGS, PLACES, batch_size=2)
    given = FitArguments((bags,), {"validation_split": 0.3, "epochs": 2})
    np.random.seed(0)
    found = with_batches_of_bags(given)
    assert sorted(found.x.y) == [0, 1, 2, 3]
    assert order(found.x) != [0, 1, 2, 3]
    assert order(found.kwargs["validation_data"]) == [4, 5, 6]
    assert set(found.kwargs) == {"validation_data", "epochs"}
    kept = with_batches_of_bags(FitArguments((), {"x": bags, "shuffle": False}))
    assert order(kept.x) == PLACES.tolist()
    assert shapes_of(given) == shapes_of(FitArguments((bags.taken([4, 1, 2]),)))


# In a search


def build(config):
    bag, mask = keras.Input((None, 2), name="bag"), keras.Input((None,), dtype="bool", name="mask")
    units = config.Int("units", 2, 8)
    pooled = gk.layers.GatedAttentionPooling(units)(bag, mask=mask)
    model = keras.Model({"bag": bag, "mask": mask}, keras.layers.Dense(1)(pooled))
    model.compile("adam", "mse", run_eagerly=True)
    return model


def searched(project, *args, trials=1, executor="inline", cv_folds=None, **kwargs):
    tuner = gk.RayTuner(
        build, "val_loss", trials, seed=0, executor=executor, cv_folds=cv_folds, **project
    )
    tuner.search(*args, verbose=0, epochs=2, **kwargs)
    return tuner


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_a_search_over_folds_by_patient(request, project, executor):
    if executor == "ray":
        request.getfixturevalue("local_ray")
    bags = gk.Bags(BAGS, PLACES, batch_size=2)
    groups = np.array([0, 0, 1, 1, 2, 2, 3])
    how = {"cv_folds": 2, "groups": groups, "stratify": None}
    tuner = searched(project, bags, trials=2, executor=executor, **how)
    table = tuner.results_dataframe()
    assert list(table["status"]) == ["COMPLETED"] * 2
    found = gk.ensemble(tuner.get_best_models()).predict(bags, verbose=0)
    assert found.shape == (7, 1)
    assert str(tuner.try_configuration({"units": 3}, bags, stratify=None)).count("(None, ") >= 2


@pytest.mark.parametrize("how", [{"validation_split": 0.3}, {"validation_data": True}])
def test_a_search_with_validation_bags_is_the_same_again(project, tmp_path, how):
    bags = gk.Bags(BAGS, PLACES, batch_size=2)
    if "validation_data" in how:
        how = {"validation_data": bags.taken([4, 5, 6])}
    scores = {
        searched({"directory": tmp_path / name}, bags, **how).results_dataframe()["score"][0]
        for name in ("one", "two")
    }
    assert len(scores) == 1


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((BAGS, PLACES), {}, r"a list of 7 arrays with 3 to 40 rows. .*glimr_keras.Bags"),
        ((gk.Bags(BAGS, PLACES),), {"batch_size": 4}, r"`Bags\(…, batch_size=4\)`"),
        ((gk.Bags(BAGS), PLACES), {}, r"Give `glimr_keras.Bags\(bags, y=…\)`"),
        ((gk.Bags(BAGS, PLACES),), {"validation_split": 0.9}, "samples on both sides"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_trial(project, args, kwargs, message):
    if not {"validation_split"} & set(kwargs):
        kwargs["validation_data"] = gk.Bags(BAGS, PLACES)
    with pytest.raises(DataError, match=message):
        searched(project, *args, **kwargs)
