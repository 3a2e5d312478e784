"""What a command takes for a project."""

import contextlib
import shutil

import pytest

from glimr_keras.cli.main import main
from glimr_keras.cli.opened import Opened, objective_of
from glimr_keras.errors import ProjectError
from glimr_keras.project import remote_files, remote_mirror
from glimr_keras.project.journal import Journal
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


@pytest.fixture
def at_uri(digits, tmp_path, monkeypatch):
    """A project at a URI, of which there is a copy here."""
    monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / "cache"))
    return Opened(f"file://{digits}")


@pytest.fixture
def fetched(monkeypatch):
    """The names of files that are read from their URI."""
    names, content = [], remote_files.Remote.content
    monkeypatch.setattr(
        remote_files.Remote,
        "content",
        lambda remote, name: names.append(name) or content(remote, name),
    )
    return names


def test_a_journal_at_a_uri_is_brought_only_when_it_has_changed(at_uri, fetched, digits):
    before = at_uri.stamp()
    assert at_uri.stamp() == before
    assert fetched == []
    journal = Journal(digits)
    journal.add_epoch("04", 0, 3, {"val_loss": 0.6})
    journal.close()
    assert at_uri.stamp() != before
    assert fetched == [".glimr_keras/journal.jsonl"]
    assert at_uri.read().trials["04"].executions[0].history[3] == {"val_loss": 0.6}


def test_what_could_not_be_brought_is_brought_later(at_uri, digits, monkeypatch):
    monkeypatch.setattr(remote_mirror, "_WAITS", (0.0,))
    journal, other = Journal(digits), Journal(at_uri.directory)
    journal.add_epoch("04", 0, 3, {"val_loss": 0.6})
    journal.close()
    with contextlib.closing(other):
        other.claim()  # as another command does that brings it
        at_uri.stamp()
        assert len(at_uri.read().trials["04"].executions[0].history) == 2
    at_uri.stamp()
    assert len(at_uri.read().trials["04"].executions[0].history) == 3


def test_a_project_that_is_gone_at_its_uri_is_not_shown_from_its_copy(at_uri, digits, capsys):
    shutil.rmtree(digits)
    said = rf"no project at file://{digits}\. A copy from before is in {at_uri.directory}\.$"
    with pytest.raises(ProjectError, match=said):
        at_uri.stamp()
    assert main(["show", f"file://{digits}"]) == 1
    assert "A copy from before is in" in capsys.readouterr().err


def test_looks_at_a_server_are_ten_seconds_apart(at_uri, digits):
    assert (at_uri.pause(2.0), at_uri.pause(60.0)) == (10.0, 60.0)
    assert Opened(str(digits)).pause(2.0) == 2.0


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
