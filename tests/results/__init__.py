"""Tests of `glimr_keras.results`."""
