"""Tests of `glimr_keras.applications`."""
