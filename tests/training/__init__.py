"""Tests of `glimr_keras.training`."""
