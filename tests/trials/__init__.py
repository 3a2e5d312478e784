"""Tests of `glimr_keras.trials`."""
