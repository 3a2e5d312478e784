"""Runs of W&B without a server, read by W&B."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from glimr_keras.errors import StorageError
from glimr_keras.exports import wandb_runs
from tests.exports import contents
from tests.offline_runs import wandb_runs as offline_runs
from tests.results import made

wandb = pytest.importorskip("wandb")


def files_of(where):
    return sorted(pathlib.Path(where).rglob("*.wandb"))


@pytest.fixture
def where(tmp_path):
    return str(tmp_path / "here")


def test_runs_have_a_configuration_a_history_and_a_group(where):
    said = wandb_runs.write_runs(contents.early(), where)
    assert said == (
        f"W&B's project 'digits' in {where} has 3 trials: 3 runs written, 0 as they were. "
        f"`wandb sync {where}/wandb/offline-run-*` sends them."
    )
    runs = offline_runs(where, 3)
    assert sorted(runs) == ["trial 00", "trial 01", "trial 02"]
    first, failed = runs["trial 00"], runs["trial 01"]
    assert (first.info.project, first.info.run_group) == ("digits", "digits")
    assert list(first.info.tags) == ["completed"]
    values = {name: value for name, value in first.config.items() if name != "_wandb"}
    assert values == {"units": 8, "rate": 0.001, "kind": "wide", "norm": False}
    assert first.column("val_loss") == [0.5, 0.25, 0.375]
    assert first.column("_step") == [1, 2, 3]
    assert first.column("_timestamp") == [made.BEGAN + n for n in (1, 2, 3)]
    assert (first.summary["score"], first.summary["best_epoch"]) == (0.25, 2)
    assert (first.exit_code, failed.exit_code) == (0, 1)
    assert failed.info.notes == "ValueError: <too large> & more"


def test_an_older_version_is_refused(where, monkeypatch):
    monkeypatch.setattr(wandb, "__version__", "0.18.7")
    with pytest.raises(ImportError, match=r"0\.19\.10 or later\. Received: 0\.18\.7"):
        wandb_runs.write_runs(contents.early(), where)
    assert not pathlib.Path(where).exists()


def test_a_run_is_never_there_twice(where):
    wandb_runs.write_runs(contents.early(), where)
    before = files_of(where)
    assert "0 runs written, 3 as they were" in wandb_runs.write_runs(contents.early(), where)
    assert files_of(where) == before
    assert "2 runs written, 2 as they were" in wandb_runs.write_runs(contents.late(), where)
    runs = offline_runs(where, 4)
    assert runs["trial 02"].column("val_loss") == [0.75, 0.5]
    assert len(files_of(where)) == 4


def test_what_an_export_did_not_finish_is_there_once(where):
    wandb_runs.write_runs(contents.early(), where)
    (ledger,) = pathlib.Path(where).glob("wandb/glimr_keras-*.json")
    known = json.loads(ledger.read_text())
    left = next(iter(known))
    del known[left]
    ledger.write_text(json.dumps(known))
    assert "1 runs written, 2 as they were" in wandb_runs.write_runs(contents.early(), where)
    offline_runs(where, 3)
    assert len(files_of(where)) == 3


def test_an_export_that_is_interrupted_is_gone_on_with(where, monkeypatch):
    import wandb

    with monkeypatch.context() as patch:
        patch.setattr(wandb.Run, "log", interrupted)
        with pytest.raises(KeyboardInterrupt):
            wandb_runs.write_runs(contents.early(), where)
    assert "3 runs written, 0 as they were" in wandb_runs.write_runs(contents.early(), where)
    assert offline_runs(where, 3)["trial 00"].column("val_loss") == [0.5, 0.25, 0.375]
    assert len(files_of(where)) == 3


def interrupted(*arguments, **options):
    raise KeyboardInterrupt


def test_a_training_that_began_anew_is_another_run(where):
    wandb_runs.write_runs(contents.early(), where)
    before = ids_in(where)
    wandb_runs.write_runs(contents.late(), where)
    assert ids_in(where).items() >= before.items()
    again = contents.begun_again()
    for _ in range(2):
        wandb_runs.write_runs(again, where)
    after = ids_in(where)
    assert after["trial 00"] == f"{before['trial 00']}-1"
    assert offline_runs(where, 4)["trial 00"].column("val_loss") == [0.4, 0.3]
    assert len(files_of(where)) == 4
    more = contents.begun_again()
    execution = more.project.trials["00"].executions[0]
    execution.history[3], execution.epoch_times[3] = {"val_loss": 0.2}, made.BEGAN + 3
    wandb_runs.write_runs(more, where)
    assert ids_in(where)["trial 00"] == after["trial 00"]


def ids_in(where):
    """What W&B has as ids, by name."""
    count = len(files_of(where))
    return {name: run.info.run_id for name, run in offline_runs(where, count).items()}


def test_folds_are_runs(where):
    wandb_runs.write_runs(contents.folded(), where)
    assert sorted(offline_runs(where, 3)) == [
        *("trial 00, fold 0", "trial 00, fold 1", "trial 01, fold 0")
    ]


def test_wandb_itself_reads_them(where):
    wandb_runs.write_runs(contents.content([made.trial(0, [[0.5, 0.25]])]), where)
    (file,) = files_of(where)
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode and "no such command" in done.stderr.lower():
        pytest.skip("this version of W&B shows no files")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    rows = [each["history"]["item"] for each in records if each["type"] == "history"]
    assert [row["val_loss"] for row in rows] == [0.5, 0.25]


def test_a_server_that_does_not_let_one_in_is_told(where, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    online = dataclasses.replace(contents.early(), online=True)
    with pytest.raises(StorageError, match="W&B cannot write the runs"):
        wandb_runs.write_runs(online, where)
