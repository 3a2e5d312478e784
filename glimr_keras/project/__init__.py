"""The stored project: journal, checkpoints, training states, directories and URIs. Knows trials and
space.
"""
