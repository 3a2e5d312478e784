"""What there is to search: hyperparameters, declared and define-by-run, with conditions. Knows no
other room.
"""
