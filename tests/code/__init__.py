"""Tests of `glimr_keras.code`."""
