"""Tests of `glimr_keras.glimr`."""
