"""A project as W&B (Weights & Biases) runs. Uses W&B; runs anywhere.

A training run is a W&B run in the group and the W&B project with the project's name. Without a
server it is a directory that `wandb sync` uploads. An unchanged run is kept; a changed one is
replaced. A training that restarted becomes a new run, since W&B only appends epochs to a run.
"""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

from glimr_keras._utils import versions
from glimr_keras._utils.files import write_json
from glimr_keras.errors import StorageError
from glimr_keras.exports.content import Content
from glimr_keras.exports.extras import needed
from glimr_keras.exports.places import outside_projects
from glimr_keras.exports.runs import Run, all_runs, digest
from glimr_keras.trials.execution import TrialStatus

_SETTINGS = {
    "silent": True,
    "console": "off",
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_viewer": True,
    "x_save_requirements": False,
}
"""Keep data of this process and machine out of runs that were trained elsewhere."""


def write_runs(content: Content, where: str | None) -> str:
    """Write the runs that are new or have changed.

    Args:
        content: The content to write.
        where: The directory in which W&B creates its `wandb` directory. `None` means the working
            directory.

    Returns:
        A sentence that says what was written.

    Raises:
        ImportError: If W&B is too old.
        ProjectError: If the directory is inside a project.
        StorageError: If W&B reports an error.
    """
    with needed("wandb", "wandb"):
        import wandb
    versions.check_version("wandb", wandb.__version__, versions.WANDB)
    place = pathlib.Path(where or ".").absolute()
    outside_projects(place / "wandb")
    place.mkdir(parents=True, exist_ok=True)
    ledger = _Ledger(place, content)
    number = 0
    try:
        for run in content.track([run for run in all_runs(content) if ledger.is_new(run)]):
            run_id = ledger.begin(run)
            ledger.end(run, _write(run, run_id, place))
            number += 1
    except wandb.errors.Error as error:
        raise StorageError(f"W&B cannot write the runs: {error}") from error
    finally:
        ledger.close()
    sent = "" if content.online else f" `wandb sync {place / 'wandb'}/offline-run-*` sends them."
    return (
        f"W&B's project {content.name!r} in {place} has {content.amount}: {number} runs written, "
        f"{ledger.number - number} as they were.{sent}"
    )


class _Ledger:
    """Track what was written of each run, in a file next to W&B's run directories.

    Args:
        place: The directory that contains W&B's `wandb` directory.
        content: The content to write.
    """

    def __init__(self, place: pathlib.Path, content: Content) -> None:
        kind = "online" if content.online else "offline"
        self._kind = "run" if content.online else "offline-run"
        self._file = place / "wandb" / f"glimr_keras-{content.owner}-{kind}.json"
        self._known: dict[str, dict[str, Any]] = {}
        if self._file.exists():
            self._known = json.loads(self._file.read_text())

    @property
    def number(self) -> int:
        """Return the number of known runs."""
        return len(self._known)

    def is_new(self, run: Run) -> bool:
        """Return whether the current state of a run has not been written yet."""
        known = self._known.get(run.unique_id)
        return known is None or known["state"] != _state(run) or not self._place(known).exists()

    def begin(self, run: Run) -> str:
        """Remove the directories of a run, including unfinished ones, and return the id for W&B."""
        for directory in self._file.parent.glob(f"{self._kind}-*-{run.unique_id}*"):
            shutil.rmtree(directory, ignore_errors=True)
        known = self._known.get(run.unique_id)
        number = 0 if known is None else known["number"] + (not _goes_on(run, known))
        steps = run.steps
        said = {"number": number, "steps": len(steps), "digest": digest(steps)}
        self._known[run.unique_id] = {**said, "state": "", "directory": ""}
        if number:
            self.close()
        return f"{run.unique_id}-{number}" if number else run.unique_id

    def end(self, run: Run, directory: pathlib.Path) -> None:
        """Record that a run is fully written, and where."""
        self._known[run.unique_id] |= {"state": _state(run), "directory": directory.name}

    def close(self) -> None:
        """Write the file."""
        write_json(self._file, self._known)

    def _place(self, known: dict[str, Any]) -> pathlib.Path:
        return self._file.parent / pathlib.PurePath(known["directory"]).name


def _goes_on(run: Run, known: dict[str, Any]) -> bool:
    """Return whether the written epochs are still the first ones."""
    steps = run.steps[: known["steps"]]
    return len(steps) == known["steps"] and digest(steps) == known["digest"]


def _state(run: Run) -> str:
    return f"{digest(run.steps)} {run.status} {run.score}"


def _write(run: Run, run_id: str, place: pathlib.Path) -> pathlib.Path:
    """Write a run and return its directory."""
    import wandb

    with wandb.init(
        project=run.content.name,
        group=run.content.name,
        id=run_id,
        name=run.name,
        config=run.parameters,
        tags=[run.status.lower()],
        notes=run.tags.get("failure"),
        dir=str(place),
        mode="online" if run.content.online else "offline",
        resume="allow" if run.content.online else None,
        reinit="create_new",
        settings=_settings(run.started),
    ) as written:
        directory = pathlib.Path(written.dir).parent
        first = written.step  # not 0 if the run is resumed
        for step in run.steps:
            if step.epoch >= first:
                written.log({**step.metrics, "_timestamp": step.time}, step=step.epoch)
        written.summary.update({**run.tags, **run.score})
        written.finish(exit_code=1 if run.status == TrialStatus.FAILED else 0)
    return directory


def _settings(started: float) -> Any:
    """Return the settings that the installed version of W&B supports."""
    import wandb

    wanted = {**_SETTINGS, "x_start_time": started}
    known: dict[str, Any] = getattr(wandb.Settings, "model_fields", wanted)
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})
