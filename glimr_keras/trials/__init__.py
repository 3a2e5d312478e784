"""Trials, their metrics and objective. Imports the space."""
