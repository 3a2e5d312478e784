"""Models and their training data: hypermodels, tasks, optimizers, data, folds, ensembles.

Depends on the space.
"""
