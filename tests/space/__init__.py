"""Tests of `glimr_keras.space`."""
