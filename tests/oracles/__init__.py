"""Tests of `glimr_keras.oracles`."""
