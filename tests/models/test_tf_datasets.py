"""`tf.data` pipelines that are sent: what arrives in another process, and what cannot be sent."""

import pathlib
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from glimr_keras.errors import ShippingError
from glimr_keras.models import tf_datasets

IMAGES, LABELS = np.arange(320, dtype="float32").reshape(20, 4, 4, 1), np.arange(20)
PAIRS = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
TABLE = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.range(20), tf.range(20) * 2), -1
)
FLIP = keras.layers.RandomFlip()
FLIP(IMAGES)
GENERATOR = tf.random.Generator.from_seed(1)


def records(directory):
    """A pipeline that reads a file."""
    path = directory / "records"
    with tf.io.TFRecordWriter(str(path)) as file:
        for label in LABELS:
            file.write(str(label).encode())
    return (
        tf.data.TFRecordDataset(str(path))
        .map(lambda record: tf.strings.to_number(record, tf.int64))
        .batch(5)
    )


PIPELINES = {
    "tensors": lambda _: PAIRS.batch(5),
    "shuffled and prefetched": lambda _: PAIRS.shuffle(20).batch(5).prefetch(2),
    "cached": lambda _: PAIRS.cache().batch(5),
    "repeated": lambda _: PAIRS.repeat(2).batch(5),
    "with a dict": lambda _: PAIRS.map(lambda x, y: ({"image": x}, y)).batch(5),
    "random": lambda _: PAIRS.map(lambda x, y: (tf.image.random_flip_left_right(x), y)).batch(5),
    "augmented by Keras": lambda _: PAIRS.batch(5).map(lambda x, y: (FLIP(x, training=True), y)),
    "with a generator of random numbers": lambda _: PAIRS.map(
        lambda x, y: (x + GENERATOR.normal([]), y)
    ).batch(5),
    "with a table": lambda _: PAIRS.map(lambda x, y: (x, TABLE.lookup(tf.cast(y, tf.int32)))).batch(
        5
    ),
    "from a file": records,
    "ragged": lambda _: tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [1, 2], []])),
}

RECEIVE = """
import pickle, sys
from glimr_keras.models import tf_datasets
for name, (graph, spec) in pickle.load(open(sys.argv[1], "rb")).items():
    dataset = tf_datasets.rebuilt(graph, spec)
    counts = [sum(1 for _ in dataset) for _ in range(2)]
    print(name, int(dataset.cardinality()), *counts, sep=";")
"""


def test_pipelines_arrive_in_another_process_and_can_be_read_again(tmp_path):
    made = {name: make(tmp_path) for name, make in PIPELINES.items()}
    sent = tmp_path / "sent"
    sent.write_bytes(
        pickle.dumps(
            {
                name: (tf_datasets.graph_of(dataset), dataset.element_spec)
                for name, dataset in made.items()
            }
        )
    )
    command = [sys.executable, "-c", RECEIVE, str(sent)]
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, cwd=root
    )
    received = dict(line.split(";", 1) for line in done.stdout.splitlines())
    expected = {
        name: f"{int(d.cardinality())};" + ";".join([str(sum(1 for _ in d))] * 2)
        for name, d in made.items()
    }
    assert received == expected


def test_the_elements_are_the_same():
    dataset = PAIRS.shuffle(20, seed=3, reshuffle_each_iteration=False).batch(5)
    again = tf_datasets.rebuilt(
        np.frombuffer(tf_datasets.graph_of(dataset), "uint8"), dataset.element_spec
    )
    assert again.element_spec == dataset.element_spec
    for (x, y), (other_x, other_y) in zip(dataset, again, strict=True):
        assert np.array_equal(x, other_x)
        assert np.array_equal(y, other_y)


def test_a_table_keeps_its_values():
    dataset = PIPELINES["with a table"](None)
    again = tf_datasets.rebuilt(tf_datasets.graph_of(dataset), dataset.element_spec)
    assert [int(label) for _, labels in again for label in labels] == list(range(0, 40, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.data.Dataset.from_generator(
            lambda: iter([1]), output_signature=tf.TensorSpec((), tf.int32)
        ),
        lambda: PAIRS.map(lambda x, y: (tf.py_function(lambda part: part, [x], tf.float32), y)),
        lambda: PAIRS.map(
            lambda x, y: (tf.numpy_function(lambda part: part, [x], tf.float32), y)
        ).batch(5),
        lambda: tf.data.Dataset.range(2).flat_map(
            lambda i: tf.data.Dataset.from_generator(
                lambda: iter([1]), output_signature=tf.TensorSpec((), tf.int32)
            )
        ),
    ],
    ids=["from_generator", "py_function", "numpy_function", "inside"],
)
def test_python_code_in_a_pipeline_is_refused_with_what_to_do(make):
    with pytest.raises(
        ShippingError, match=r"(?s)calls Python code of this one.*def data\(self, config\)"
    ):
        tf_datasets.graph_of(make())


def test_what_is_written_to_a_dataset_arrives_with_it():
    dataset = PAIRS.batch(5)
    dataset.class_names = ["a", "b"]
    attributes = tf_datasets.attributes_of(dataset)
    assert attributes == {"class_names": ["a", "b"]}
    again = tf_datasets.rebuilt(tf_datasets.graph_of(dataset), dataset.element_spec, attributes)
    assert again.class_names == ["a", "b"]


def test_datasets_are_told_from_other_things():
    assert tf_datasets.is_dataset(PAIRS)
    assert not tf_datasets.is_dataset(IMAGES)
    assert not tf_datasets.is_dataset(tf.constant(1))
