"""Tests of `glimr_keras.project`."""
