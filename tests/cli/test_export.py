"""`glimr-keras export`; what is written is tested with each tool."""

import concurrent.futures
import json
import os

import pandas as pd
import pytest

from glimr_keras.cli.main import main
from tests.results import made


def test_a_project_is_written(digits, tmp_path, capsys):
    file = tmp_path / "digits.json"
    assert main(["export", str(digits), "--to", "json", "-o", str(file)]) == 0
    assert capsys.readouterr().out == f"Wrote {file} (5 trials).\n"
    assert json.loads(file.read_text())["name"] == "digits"


def test_what_goes_into_a_stream_is_not_followed_by_a_sentence(digits, capfd):
    assert main(["export", str(digits), "--to", "json", "-o", "/dev/stdout"]) == 0
    out, err = capfd.readouterr()
    assert err == "Wrote /dev/stdout (5 trials).\n"
    assert "Wrote" not in out


def test_what_goes_into_a_pipe_is_not_followed_by_a_sentence(digits, tmp_path, capsys):
    pipe = tmp_path / "digits.json"
    os.mkfifo(pipe)
    with concurrent.futures.ThreadPoolExecutor() as readers:
        read = readers.submit(pipe.read_text)
        assert main(["export", str(digits), "--to", "json", "-o", str(pipe)]) == 0
        assert json.loads(read.result())["name"] == "digits"
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"Wrote {pipe} (5 trials).\n")


def test_epochs_and_names_can_be_asked_for(digits, tmp_path):
    file = tmp_path / "epochs.csv"
    assert main(["export", str(digits), "--to", "csv", "--epochs", "-o", str(file)]) == 0
    assert len(pd.read_csv(file)) == 9
    file = tmp_path / "named.json"
    main(["export", str(digits), "--to", "json", "-o", str(file), "--name", "other"])
    assert json.loads(file.read_text())["name"] == "other"


def test_the_tools_own_place_is_taken(digits, tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(digits), "--to", "wandb"]) == 0
    assert f"in {tmp_path} has 5 trials: 5 runs written" in capsys.readouterr().out
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 5


def test_a_project_of_keras_tuner_is_written_once(of_keras_tuner, tmp_path, capsys):
    command = ["export", str(of_keras_tuner), "--to", "optuna"]
    for _ in range(2):
        assert main([*command, "-o", str(tmp_path / "study.log")]) == 0
    assert capsys.readouterr().out.count("has 2 trials") == 2


def test_a_place_that_cannot_be_written_to_is_told(digits, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["export", str(digits), "--to", "csv", "-o", str(tmp_path / "file" / "x.csv")]) == 1
    assert capsys.readouterr().err == f"glimr-keras: {tmp_path}/file: File exists\n"


def test_a_copy_is_known_by_its_uri(tmp_path, monkeypatch, capsys):
    """Where it has no id, as a project of the first version."""
    trials = [made.trial(0, [[0.5]]), made.trial(1, [[0.25]])]
    directory = made.written(made.project(trials, project_id=None), tmp_path / "digits")
    command = ["export", f"file://{directory}/", "--to", "optuna"]
    for cache in ("a", "b"):
        monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / cache))
        assert main([*command, "-o", str(tmp_path / "study.log")]) == 0
    assert capsys.readouterr().out.count("has 2 trials") == 2


def test_a_database_that_is_not_there_is_told(digits, capsys):
    where = "nonsense://me:secret@host/db"
    assert main(["export", str(digits), "--to", "optuna", "-o", where]) == 1
    said = capsys.readouterr().err
    assert said.startswith("glimr-keras: Optuna cannot write to nonsense://host/db: Can't load")
