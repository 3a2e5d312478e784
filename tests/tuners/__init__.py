"""Tests of `glimr_keras.tuners`."""
