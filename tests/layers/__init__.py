"""Tests of `glimr_keras.models`."""
