"""Whole searches with made-up trainings, in milliseconds, that break anywhere.

`disk` is where processes die, power is cut and room runs out; `trainings` says what a training
yields; `cluster` is the executor, with a clock of its own; `searches` runs a script until it is
done, and says what must hold then.
"""
