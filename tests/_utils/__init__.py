"""Tests of `glimr_keras._utils`."""
