"""An execution as the user's Ray Tune callbacks see it: as if it were a Ray trial. Runs in the
driver.
"""

from __future__ import annotations

import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial as RayTrial

from glimr_keras.space.reserved_names import Stage
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.trials.layout import project_directory


class LoggedTrial(RayTrial):
    """A Ray trial with the hyperparameters, the names and the directory of an execution.

    Everything else comes from the Ray trial that currently runs the execution. There may be
    several, one after the other: a training whose process was lost continues in another.

    Args:
        spec: The execution.

    Attributes:
        ray_trial: The Ray trial that runs it now.
        trial_id: An ID that is unique among all projects, as trackers require.
        config: The value of each hyperparameter by full name, as far as they are known.
        has_started, has_ended: Whether callbacks were notified of it.
        failure: Why the execution failed; `None` if it did not.
    """

    def __init__(self, spec: ExecutionSpec) -> None:  # of all that Ray's has, it needs nothing
        self.spec = spec
        self.ray_trial: RayTrial | None = None
        self.trial_id, self.custom_trial_name = spec.unique_name, spec.name
        self.experiment_tag = spec.name
        self.config: dict[str, Any] = {}
        self.evaluated_params = self.config
        self.has_started = self.has_ended = False
        self.failure: str | None = None
        self._last_result: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of Ray's trial."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["ray_trial"], name)

    @property
    def local_path(self) -> str:
        """Return the execution's folder in the project, which contains its checkpoint."""
        return self.spec.directory

    path = local_path

    @property
    def local_experiment_path(self) -> str:
        """Return the project's directory."""
        return str(project_directory(self.spec.directory, self.spec.execution))

    remote_experiment_path = local_experiment_path

    @property
    def experiment_dir_name(self) -> str:
        """Return the project's name. The local copy of a project at a URI is named after the whole
        URI.
        """
        place = pathlib.Path(self.local_experiment_path)
        return urllib.parse.unquote(place.name).rpartition("/")[2]

    @property
    def relative_logdir(self) -> str:
        """Return the execution's folder, relative to the project's directory."""
        return str(pathlib.Path(self.local_path).relative_to(self.local_experiment_path))

    def init_local_path(self) -> None:
        """Make the folder if it does not exist."""
        pathlib.Path(self.local_path).mkdir(parents=True, exist_ok=True)

    @property
    def status(self) -> str:
        """Return Ray's status; `"ERROR"` for a training that failed in a process that survives."""
        return RayTrial.ERROR if self.failure is not None else str(self.__getattr__("status"))

    def get_error(self) -> str | None:
        """Return why it failed."""
        return self.failure

    @property
    def last_result(self) -> dict[str, Any]:
        """Return Keras' metrics of the last epoch, and what Ray adds to them."""
        return self._last_result

    def know(self, values: Mapping[str, Any]) -> None:
        """Take in the values of hyperparameters, except those that describe the stage of a
        training.
        """
        self.config.clear()
        self.config.update({name: values[name] for name in values if name not in Stage.NAMES})

    def take_in(self, result: dict[str, Any]) -> None:
        """Assign a result to this trial. It stays the same object, so that Ray and other callbacks
        see what a callback adds to it.
        """
        result["config"], result["trial_id"] = dict(self.config), self.trial_id
        self._last_result = result


def known_values(spec: ExecutionSpec, space: SearchSpace) -> dict[str, Any] | None:
    """Return the hyperparameters that an execution will request.

    Args:
        spec: An execution that has not begun yet.
        space: The hyperparameters known so far.

    Returns:
        Values by name; `None` if it may request more than is known.
    """
    missing = object()
    asked = space.walk(lambda parameter: spec.values.get(parameter.name, missing))
    if not space.is_whole or missing in asked.values():
        return None
    drawn = {name: spec.values[name] for name in space.drawn if name in spec.values}
    return drawn | asked
