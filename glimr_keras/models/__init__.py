"""What is built and what it is trained on: hypermodels, tasks, optimizers, data, folds, ensembles.
Knows the space.
"""
