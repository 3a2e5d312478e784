"""What an executor is. Runs in the driver."""

from __future__ import annotations

from collections.abc import Callable

from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.training.discovery import Probe

Begin = Callable[[Probe], Coordinator | None]
"""Begins a search with what was found by building the model once, or returns `None` where that was
all that was wanted.
"""
