"""Predictions that were kept: a file that is read as far as it is whole."""

import json
import os
import struct

import numpy as np
import pytest

from glimr_keras.errors import CheckpointError, StorageError
from glimr_keras.project import predictions
from glimr_keras.project.predictions import FILE, PredictionsWriter, Validation

COUNT = 5
VALIDATION = Validation(
    labels=np.arange(COUNT, dtype="int32"),
    weights=np.linspace(0, 1, COUNT),
    samples=np.arange(10, 10 + COUNT),
    groups=np.array([0, 0, 1, 1, 2]),
)


def predicted(epoch, count=COUNT):
    return np.full((count, 2), epoch, "float32") + np.arange(count, dtype="float32")[:, None]


def written(directory, epochs=(1, 2, 3), attempt=0, after=0, validation=VALIDATION):
    writer = PredictionsWriter(directory, attempt, after)
    for epoch in epochs:
        writer.add(epoch, validation, predicted(epoch))
    return writer


def record_size():
    return 8 + 4 * COUNT * 2 + 16


def test_what_was_written_is_read(tmp_path):
    assert predictions.read(tmp_path) is None
    written(tmp_path)
    kept = predictions.read(tmp_path)
    assert kept.epochs == (1, 2, 3)
    for name in ("labels", "weights", "samples", "groups"):
        stored, given = getattr(kept, name), getattr(VALIDATION, name)
        np.testing.assert_array_equal(stored, given)
        assert stored.dtype == given.dtype
    for epoch in kept.epochs:
        np.testing.assert_array_equal(kept.at(epoch), predicted(epoch))
        assert kept.at(epoch).dtype == "float32"
    with pytest.raises(KeyError, match="no predictions of epoch 4"):
        kept.at(4)


@pytest.mark.parametrize(
    "outputs",
    [
        {"b": np.ones((COUNT, 1)), "a": np.zeros((COUNT, 2, 3), "float16")},
        [np.ones((COUNT,)), np.zeros((COUNT, 3))],
        (np.ones((COUNT, 1)), {"a": np.arange(COUNT)}),
    ],
)
def test_any_structure_comes_back(tmp_path, outputs):
    labels = {"y": np.ones((COUNT, 4), bool), "a": np.arange(COUNT, dtype="uint8")}
    PredictionsWriter(tmp_path, 0).add(1, Validation(labels), outputs)
    kept = predictions.read(tmp_path)
    assert list(kept.labels) == ["y", "a"]
    np.testing.assert_array_equal(kept.labels["a"], labels["a"])
    assert kept.weights is None and kept.samples is None and kept.groups is None
    found = kept.at(1)
    assert type(found) is type(outputs)
    if isinstance(outputs, dict):
        assert list(found) == list(outputs)
        found, outputs = list(found.values()), list(outputs.values())
    np.testing.assert_array_equal(found[0], outputs[0])


def test_a_torn_or_changed_record_is_not_there_and_the_others_are(tmp_path):
    written(tmp_path, range(1, 6))
    file = tmp_path / FILE
    content = bytearray(file.read_bytes())
    head = len(content) - 5 * record_size()
    content[head + record_size() + 20] ^= 1  # of epoch 2
    file.write_bytes(content[:-3])  # and the end of epoch 5
    kept = predictions.read(tmp_path)
    assert kept.epochs == (1, 3, 4)
    np.testing.assert_array_equal(kept.at(3), predicted(3))


def test_a_hole_is_no_record(tmp_path):
    written(tmp_path, (1,))
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.truncate(file.tell() + 7 * record_size())
    assert predictions.read(tmp_path).epochs == (1,)


def test_a_training_that_goes_on_replaces_the_epochs_after_its_state(tmp_path):
    written(tmp_path, (1, 2, 3, 4))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"torn")
    written(tmp_path, (3,), after=2)
    assert predictions.read(tmp_path).epochs == (1, 2, 3)


def test_a_torn_record_before_it_goes_on_is_not_in_the_way(tmp_path):
    written(tmp_path, (1, 2, 3))
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-5])
    written(tmp_path, (4, 5), after=3)
    assert predictions.read(tmp_path).epochs == (1, 2, 4, 5)


@pytest.mark.parametrize("how", [{"attempt": 1, "after": 2}, {"after": 0}])
def test_one_that_begins_anew_keeps_nothing_of_the_earlier_attempt(tmp_path, how):
    written(tmp_path)
    PredictionsWriter(tmp_path, **{"attempt": 0, **how})
    assert predictions.read(tmp_path) is None
    written(tmp_path, (7,), how.get("attempt", 0))
    assert predictions.read(tmp_path).epochs == (7,)


def test_other_samples_than_before_are_refused(tmp_path):
    writer = written(tmp_path)
    with pytest.raises(ValueError, match="not those of the epochs before"):
        writer.add(4, Validation(VALIDATION.labels[::-1]), predicted(4))
    with pytest.raises(ValueError, match="as many predictions as labels"):
        writer.add(4, VALIDATION, predicted(4, COUNT - 1))
    assert predictions.read(tmp_path).epochs == (1, 2, 3)


@pytest.mark.parametrize(
    ("labels", "outputs", "said"),
    [
        (np.array(list("abcde")), np.ones((COUNT, 1)), "must be numbers"),
        (None, np.full(COUNT, 2**24 + 1), "float32 does not have"),
        (None, np.ones(COUNT, complex), "real numbers"),
        (None, np.float32(1), "first axis"),
        (None, [], "no predictions"),
        ({1: np.ones(COUNT)}, np.ones(COUNT), "names must be texts"),
        (None, np.ones((0, 2)), "first axis"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path, labels, outputs, said):
    with pytest.raises(ValueError, match=said):
        PredictionsWriter(tmp_path, 0).add(1, Validation(labels), outputs)
    assert predictions.read(tmp_path) is None


def test_what_is_sent_in_parts_is_the_same_there(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    writer = PredictionsWriter(here, 0)
    assert writer.packed() == {}
    for epochs in ((1, 2), (3,)):
        for epoch in epochs:
            writer.add(epoch, VALIDATION, predicted(epoch))
        predictions.put(there, writer.packed())
    assert writer.packed() == {}
    assert (there / FILE).read_bytes() == (here / FILE).read_bytes()


def test_what_is_sent_of_one_that_goes_on_follows_what_is_there(tmp_path):
    first, other, there = tmp_path / "first", tmp_path / "other", tmp_path / "there"
    predictions.put(there, written(first, (1, 2, 3)).packed())
    writer = written(other, (3, 4), after=2)  # on another machine, which has nothing of it
    predictions.put(there, writer.packed())
    assert predictions.read(there).epochs == (1, 2, 3, 4)
    predictions.put(there, written(first, (1,), attempt=1).packed())
    assert predictions.read(there).epochs == (1,)


def changed(tmp_path, **fields):
    """A file whose description says something else, with a right digest."""
    written(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    start = content.index(b"\n") + 1
    length = struct.unpack("<I", content[start : start + 4])[0]
    described = json.loads(content[start + 4 : start + 4 + length])
    text = json.dumps({**described, **fields}).encode()
    arrays = content[start + 4 + length : -3 * record_size() - 16]
    head = content[:start] + struct.pack("<I", len(text)) + text + arrays
    return head + predictions._digest(head) + content[-3 * record_size() :]


@pytest.mark.parametrize(
    "fields",
    [
        {"count": 2**40},
        {"count": 10**400},
        {"count": 0},
        {"count": True},
        {"count": -1},
        {"attempt": "first"},
        {"outputs": None},
        {"outputs": {"shape": [2], "dtype": "object"}},
        {"outputs": {"shape": [2], "dtype": "float64"}},
        {"outputs": {"shape": [0], "dtype": "float32"}},
        {"outputs": {"shape": [2**53, 2**53], "dtype": "float32"}},
        {"outputs": {"shape": [1] * 100, "dtype": "float32"}},
        {"labels": {"shape": [2**50], "dtype": "float32"}},
        {"labels": {"shape": [], "dtype": "O"}},
        {"labels": {"list": 3}},
        {"labels": {"shape": [1.5], "dtype": "float32"}},
        {"samples": {"shape": [2], "dtype": "int64"}},
        {"groups": [1, 2]},
    ],
)
def test_a_description_that_cannot_be_is_said(tmp_path, fields):
    (tmp_path / FILE).write_bytes(changed(tmp_path, **fields))
    with pytest.raises(CheckpointError, match="damaged"):
        predictions.read(tmp_path)


def test_the_change_in_the_test_above_is_right(tmp_path):
    (tmp_path / FILE).write_bytes(changed(tmp_path, attempt=0))
    assert predictions.read(tmp_path).epochs == (1, 2, 3)


@pytest.mark.parametrize("length", [0, 10, 28, 60, 200])
def test_half_a_head_is_said(tmp_path, length):
    written(tmp_path)
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="damaged"):
        predictions.read(tmp_path)


def test_a_head_that_was_changed_is_said(tmp_path):
    written(tmp_path)
    file = tmp_path / FILE
    content = bytearray(file.read_bytes())
    content[-3 * record_size() - 20] ^= 1  # of a group
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="not as it was written"):
        predictions.read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_neither_a_pipe_nor_a_hole_is_read(tmp_path):
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(CheckpointError, match="no file"):
        predictions.read(tmp_path)
    (tmp_path / FILE).unlink()
    written(tmp_path)
    os.truncate(tmp_path / FILE, 1 << 40)
    with pytest.raises(CheckpointError, match="are stored"):
        predictions.read(tmp_path)


def test_a_file_that_was_replaced_meanwhile_is_said(tmp_path):
    written(tmp_path)
    kept = predictions.read(tmp_path)
    written(tmp_path, (1, 2, 3), attempt=1)
    with pytest.raises(CheckpointError, match="changed meanwhile"):
        kept.at(1)
    predictions.remove(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        kept.at(1)
    predictions.remove(tmp_path)


def test_a_place_that_cannot_be_written_to_is_said(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        PredictionsWriter(tmp_path / "taken", 0).add(1, VALIDATION, predicted(1))
