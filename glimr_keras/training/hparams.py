"""Writes hyperparameters for TensorBoard's HParams tab, on every backend. Runs in the worker.

It uses the package tensorboard, and not TensorFlow.
"""

from __future__ import annotations

import copy
import importlib.util
import time
from collections.abc import Mapping
from typing import Any

import keras

from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.training.trial_callback import own_values


class HParams(keras.callbacks.Callback):
    """Write the hyperparameters beside the logs of a `TensorBoard` callback when training begins.

    These are the hyperparameters asked for until then. Executions of one trial are a group in the
    tab.

    Args:
        logs: The `TensorBoard` callback.
        spec: The execution.
        config: Its hyperparameters; more may be asked for later.
    """

    def __init__(
        self, logs: keras.callbacks.TensorBoard, spec: ExecutionSpec, config: HyperParameters
    ) -> None:
        super().__init__()
        self.logs, self._spec, self._config = logs, spec, config

    @classmethod
    def of(
        cls, logs: keras.callbacks.TensorBoard, spec: ExecutionSpec, config: HyperParameters
    ) -> list[keras.callbacks.Callback]:
        """Return the callback for a `TensorBoard`, or an empty list if tensorboard is not
        installed.
        """
        is_there = importlib.util.find_spec("tensorboard") is not None
        return [cls(logs, spec, config)] if is_there else []

    def __deepcopy__(self, memo: dict[int, Any]) -> HParams:
        return HParams(
            copy.deepcopy(self.logs, memo), self._spec, self._config
        )  # not a copy, since more hyperparameters may be asked for

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        from tensorboard.plugins.hparams import summary_v2

        known = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in own_values(self._config).items()
            if value is not None
        }
        self._write(summary_v2.hparams_pb(known, trial_id=self._spec.trial_id))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        end = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time()
        )
        said = Summary()
        said.value.add(
            tag=metadata.SESSION_END_INFO_TAG,
            metadata=metadata.create_summary_metadata(
                plugin_data_pb2.HParamsPluginData(session_end_info=end)
            ),
            tensor=metadata.NULL_TENSOR,
        )
        self._write(said)

    def _write(self, said: Any) -> None:
        """Write to a separate file, so that nothing stays open if the training fails."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(self.logs.log_dir), filename_suffix=".hparams")
        try:
            writer.add_event(Event(wall_time=time.time(), step=0, summary=said))
        finally:
            writer.close()
