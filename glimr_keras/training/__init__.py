"""Runs one execution of one configuration in a worker: data, build, fit, reports and score."""
