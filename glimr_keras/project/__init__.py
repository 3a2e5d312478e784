"""The record: journal, checkpoints, states of trainings, directories and URIs. Knows trials and
space.
"""
