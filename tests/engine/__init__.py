"""Tests of `glimr_keras.engine`."""
