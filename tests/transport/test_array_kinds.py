"""Masked arrays, arrays of one's own class, and files that are mapped, on their way to workers."""

import numpy as np
import pandas as pd
import pytest

import glimr_keras as gk
from glimr_keras.errors import ShippingError
from glimr_keras.transport import array_kinds
from glimr_keras.transport.serialization import LARGE, pack, unpack
from tests import tiny_models


class Named(np.ndarray):
    """An array with an attribute, which NumPy's pickles do not have."""


class Rounded(np.ndarray):
    """Decides itself how it is pickled."""

    def __reduce__(self):
        return _rounded, (np.asarray(self).round().tolist(),)


def _rounded(values):
    return np.array(values).view(Rounded)


def sent(value):
    """What arrives, and how many bytes are in the pickle and apart."""
    packed = pack(value)
    apart = sum(array.nbytes for array in packed.arrays)
    return unpack(packed.content, packed.arrays), len(packed.content), apart


@pytest.fixture
def mapped(tmp_path):
    """A file of four large columns, mapped."""
    np.save(tmp_path / "rows.npy", np.arange(LARGE // 2).reshape(-1, 4))
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


def test_masked_arrays_are_shared():
    values = np.ma.masked_greater(np.arange(LARGE, dtype="float32"), 5)
    values.fill_value = 9
    values.harden_mask()
    arrived, inside, apart = sent(values)
    assert type(arrived) is np.ma.MaskedArray
    assert arrived.sum() == 15
    assert (arrived.fill_value, arrived.hardmask) == (9, True)
    np.testing.assert_array_equal(arrived.mask, values.mask)
    assert (inside < LARGE / 10, apart) == (True, values.nbytes + values.mask.nbytes)
    unmasked, *_ = sent(np.ma.zeros(LARGE))
    assert unmasked.mask is np.ma.nomask


def test_arrays_of_the_scripts_own_class_are_shared_with_their_attributes():
    values = np.arange(LARGE // 4, dtype="float32").view(Named)
    values.names = ["a", "b"]
    arrived, inside, apart = sent(values)
    assert type(arrived) is Named
    assert arrived.names == ["a", "b"]
    np.testing.assert_array_equal(arrived, values)
    assert (inside < LARGE / 10, apart) == (True, LARGE)


def test_arrays_of_records_are_shared():
    values = np.zeros(LARGE // 8, [("a", "f4"), ("b", "i4")]).view(np.recarray)
    values.a[3] = 1
    arrived, inside, apart = sent(values)
    assert type(arrived) is np.recarray
    assert arrived.a.sum() == 1
    assert (inside < LARGE / 10, apart) == (True, LARGE)


def test_a_class_that_pickles_itself_does():
    arrived, *_ = sent(np.array([1.4]).view(Rounded))
    assert (type(arrived), arrived.tolist()) == (Rounded, [1.0])


def test_tables_of_texts_are_shared():
    texts = pd.Series([f"text number {number}" for number in range(LARGE // 8)], dtype="str")
    arrived, inside, apart = sent({"texts": texts, "few": texts[:3]})
    pd.testing.assert_series_equal(arrived["texts"], texts)
    assert (inside < LARGE / 10, apart > LARGE) == (True, True)


@pytest.mark.parametrize(
    "part",
    [
        lambda rows: rows,
        lambda rows: rows[7:],
        lambda rows: rows[::-1],
        lambda rows: rows[1::2, ::-3],
        lambda rows: rows.T,
        lambda rows: rows.view("float32"),
    ],
    ids=["whole", "a part", "reversed", "steps", "transposed", "of another type"],
)
def test_a_mapped_file_is_mapped_again(mapped, part):
    values = part(mapped)
    arrived, inside, apart = sent(values)
    assert isinstance(arrived, np.memmap)
    assert arrived.filename == str(mapped.filename)
    assert (arrived.dtype, arrived.shape) == (values.dtype, values.shape)
    np.testing.assert_array_equal(arrived, values)
    assert (inside < LARGE / 10, apart) == (True, 0)
    again, *_ = sent(arrived)
    np.testing.assert_array_equal(again, values)


def test_what_is_written_to_a_mapped_file_is_seen_and_not_written_by_others(tmp_path):
    rows = np.memmap(tmp_path / "rows", "float64", "w+", shape=(LARGE // 8,))
    rows[3] = 7.0
    arrived, *_ = sent(rows)
    assert arrived[3] == 7.0
    with pytest.raises(ValueError, match="read-only"):
        arrived[3] = 1.0


def test_what_is_not_in_the_file_is_shared(mapped, tmp_path):
    changed = np.load(tmp_path / "rows.npy", mmap_mode="c")
    changed[0, 0] = 77
    arrived, inside, apart = sent(changed)
    assert arrived[0, 0] == 77
    assert (inside < LARGE / 10, apart) == (True, changed.nbytes)
    (tmp_path / "rows.npy").unlink()
    arrived, _, apart = sent(mapped)
    np.testing.assert_array_equal(arrived, mapped)
    assert apart == mapped.nbytes


def test_a_file_that_a_machine_does_not_have_is_named(mapped, tmp_path):
    make, place = array_kinds.reduced(mapped)
    (tmp_path / "rows.npy").write_bytes(b"1" * 2 * mapped.nbytes)
    with pytest.raises(ShippingError, match=r"np\.memmap.*rows\.npy.*a file with other content"):
        make(*place)
    (tmp_path / "rows.npy").unlink()
    with pytest.raises(ShippingError, match=r"rows\.npy.*FileNotFoundError.*np\.array\(mapped\)"):
        make(*place)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_trials_see_arrays_of_every_kind(local_ray, project, tmp_path):
    rows = np.tile(tiny_models.X, (LARGE // tiny_models.X.nbytes + 1, 1))
    np.save(tmp_path / "x.npy", rows)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")[:96]
    whole = np.load(tmp_path / "x.npy", mmap_mode="r")
    masked, named = np.ma.masked_less(rows, 0), rows.view(Named)
    named.names = ["a"]

    def build(config):
        config.Float("unused", 0.0, 1.0)
        config.Fixed("mapped", whole.filename or "")
        config.Fixed("kinds", f"{type(masked).__name__} {type(named).__name__} {named.names}")
        config.Fixed("is_writable", bool(masked.data.flags.writeable or named.flags.writeable))
        return tiny_models.compiled(tiny_models.build(config))

    tuner = gk.RandomSearch(build, "val_loss", max_trials=2, max_concurrent_trials=2, **project)
    tuner.search(x, tiny_models.Y, validation_data=tiny_models.VALIDATION, verbose=0)
    for trial in tuner.oracle.get_best_trials(2):
        values = trial.hyperparameters.values
        assert values["mapped"] == str(tmp_path / "x.npy")
        assert values["kinds"] == "MaskedArray Named ['a']"
        assert values["is_writable"] is False
