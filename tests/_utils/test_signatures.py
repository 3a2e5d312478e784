"""Which arguments something takes."""

import keras
import pytest

from glimr_keras._utils.signatures import arguments_of, check_taken, named_arguments_of, takes


class Base:
    def __init__(self, a, *, b=1):
        pass


class Extends(Base):
    def __init__(self, c, **kwargs):
        super().__init__(**kwargs)


def test_what_takes_any_argument_says_so():
    assert arguments_of(Base) == {"a", "b"}
    assert arguments_of(Extends) is None
    assert named_arguments_of(Extends) == {"a", "b", "c"}


def test_a_class_of_keras_refuses_what_it_does_not_name():
    assert "learning_rate" in arguments_of(keras.optimizers.Adam)
    assert "lr" not in arguments_of(keras.optimizers.Adam)


@pytest.mark.parametrize(("count", "can"), [(0, False), (1, True), (2, False)])
def test_positional_arguments_are_counted(count, can):
    assert takes(lambda a, *, b=1: a, count) is can


def test_a_builtin_that_does_not_say_takes_anything():
    assert arguments_of("{}".format.__call__) is None
    assert takes(max, 2)


def test_an_argument_that_is_not_taken_is_named_with_the_nearest():
    check_taken(["units"], {"units", "rate"}, "the loader")
    check_taken(["anything"], None, "the loader")
    with pytest.raises(
        ValueError, match=r"'unit' is no argument of the loader.*mean 'units'.*rate"
    ):
        check_taken(["unit"], {"units", "rate"}, "the loader")
