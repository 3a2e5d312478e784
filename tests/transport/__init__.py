"""Tests of `glimr_keras.transport`."""
