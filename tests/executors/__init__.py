"""Tests of `glimr_keras.executors`."""
