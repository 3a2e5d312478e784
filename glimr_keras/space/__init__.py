"""The search space: declared and define-by-run hyperparameters, with conditions. Imports none of
the packages above it.
"""
