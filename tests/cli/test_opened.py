"""What a command takes for a project."""

import pytest

from glimr_keras.cli.main import main
from glimr_keras.cli.opened import Opened, objective_of
from glimr_keras.errors import ProjectError
from glimr_keras.trials.objective import Objective
from tests.results import made


def test_a_directory_is_called_by_its_name(digits, monkeypatch):
    assert Opened(str(digits)).name == "digits"
    assert Opened(f"{digits}/").name == "digits"
    monkeypatch.chdir(digits)
    found = Opened(".")
    assert (found.name, found.directory) == ("digits", digits)
    assert list(found.read().trials) == ["00", "01", "02", "03", "04"]


def test_a_uri_is_read_from_a_copy(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / "cache"))
    found = Opened(f"file://{digits}")
    assert (found.name, found.is_remote) == ("digits", True)
    assert found.directory.is_relative_to(tmp_path / "cache")
    assert len(found.read().trials) == 5
    before = found.stamp()
    with (digits / ".glimr_keras" / "journal.jsonl").open("a") as journal:
        journal.write('{"record": "trial", "trial_id": "05", "values": {}, "sampling_key": []}\n')
    assert found.stamp() != before
    assert len(found.read().trials) == 6
    with pytest.raises(ProjectError, match=f"There is no project at file://{tmp_path}/nothing"):
        Opened(f"file://{tmp_path}/nothing")


def test_a_project_of_keras_tuner_is_one(of_keras_tuner):
    found = Opened(str(of_keras_tuner))
    assert list(found.read().trials) == ["00", "01"]
    before = found.stamp()
    made.trial(1, [[0.625, 0.125]]).save(of_keras_tuner / "trial_01" / "trial.json")
    assert found.stamp() != before


def test_projects_in_folders_are_named(tmp_path, digits, capsys, monkeypatch):
    made.written(made.project([]), tmp_path / "more" / "flowers")
    monkeypatch.chdir(tmp_path)
    assert main(["show", "."]) == 1
    assert capsys.readouterr().err == (
        "glimr-keras: . is no project, but has projects. Choose one:\n  digits\n  more/flowers\n"
    )


def test_of_very_many_projects_some_are_named(tmp_path):
    for number in range(25):
        made.written(made.project([]), tmp_path / f"p{number:02d}")
    with pytest.raises(ProjectError, match=r"p19\n  and 5 more$"):
        Opened(str(tmp_path))


def test_other_places_are_told_apart(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProjectError, match="file is no directory"):
        Opened(str(tmp_path / "file"))
    with pytest.raises(ProjectError, match=r"There is no project in .*empty"):
        Opened(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("val_loss", Objective("val_loss")),
        ("mine:max", Objective("mine", "max")),
        ("a:b", Objective("a:b")),
    ],
)
def test_an_objective_may_have_its_direction(text, objective):
    assert objective_of(text) == objective


def test_another_metric_is_shown(digits, capsys):
    assert main(["show", str(digits), "--objective", "loss"]) == 0
    assert "loss 0.1250, trial 00" in capsys.readouterr().out
    assert main(["show", str(digits), "--objective", "mine:max"]) == 1
    assert "No trial has measured 'mine'" in capsys.readouterr().err
