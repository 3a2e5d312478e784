"""What trackers have of a search: runs of W&B as they are on disk before they are sent, and runs of
MLflow.
"""

import dataclasses
import json
import pathlib
import struct
import time

_BLOCK = 32768
_FULL, _LAST = 1, 4


@dataclasses.dataclass
class WandbRun:
    """A run of W&B, as its file has it.

    Attributes:
        info: Name, project, group and the like.
        config: Hyperparameters, by name.
        history: What was logged, a dict for each step.
        summary: The last of each.
        steps: Which metric is on the horizontal axis of which others.
        artifacts: The names of what was to be uploaded.
        exit_code: `None` if it did not end.
    """

    info: object = None
    config: dict = dataclasses.field(default_factory=dict)
    history: list = dataclasses.field(default_factory=list)
    summary: dict = dataclasses.field(default_factory=dict)
    steps: dict = dataclasses.field(default_factory=dict)
    artifacts: list = dataclasses.field(default_factory=list)
    exit_code: int | None = None

    def column(self, name):
        return [row[name] for row in self.history if name in row]


def wandb_runs(directory, count):
    """Return the runs below a directory that have ended, by name.

    Args:
        count: So many there are; W&B may need a moment to write what has ended.
    """
    for _ in range(100):
        runs = map(_wandb_run, sorted(pathlib.Path(directory).rglob("*.wandb")))
        ended = {run.info.display_name: run for run in runs if run.exit_code is not None}
        if len(ended) == count:
            return ended
        time.sleep(0.1)
    raise AssertionError(f"{count} runs were to end in {directory}. Received: {list(ended)}")


def _wandb_run(path):
    from wandb.proto import wandb_internal_pb2

    run = WandbRun()
    for content in _contents(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        match record.WhichOneof("record_type"):
            case "run":
                run.info = record.run
                run.config |= _values(record.run.config.update)
            case "config":
                run.config |= _values(record.config.update)
            case "history":
                run.history.append(_values(record.history.item))
            case "summary":
                run.summary |= _values(record.summary.update)
            case "metric":
                run.steps[record.metric.glob_name or record.metric.name] = record.metric.step_metric
            case "artifact":
                run.artifacts.append(record.artifact.name)
            case "exit":
                run.exit_code = record.exit.exit_code
    return run


def _values(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _contents(data):
    """The records of a file, which is a log as LevelDB has it, after a head of its own."""
    place, content = 7, b""
    while place < len(data):
        if _BLOCK - place % _BLOCK < 7:
            place += _BLOCK - place % _BLOCK
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        content += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (_FULL, _LAST):
            yield content
            content = b""


def mlflow_runs(uri):
    """Return the runs of a tracking server, by name of the experiment and of the run."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    return {
        (experiment.name, run.info.run_name): run
        for experiment in client.search_experiments()
        for run in client.search_runs([experiment.experiment_id])
    }
