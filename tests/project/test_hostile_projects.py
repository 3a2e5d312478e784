"""Projects that somebody made so that whoever opens them is harmed: what cannot be is said, soon,
and nothing is written elsewhere.

A seed that fails is run again alone by
`pytest tests/project/test_hostile_projects.py --seeds 1234:1235`.
"""

import contextlib
import io
import json
import os
import pathlib
import time

import h5py
import numpy as np
import pandas as pd
import pytest

import glimr_keras as gk
from glimr_keras._utils.files import write_whole
from glimr_keras._utils.untrusted_json import LONGEST
from glimr_keras.cli.main import main
from glimr_keras.errors import CheckpointError, ProjectError
from glimr_keras.exports import tools
from glimr_keras.exports.content import Content
from glimr_keras.oracles import Oracle
from glimr_keras.project import checkpoints, keras_tuner_files, model_weights, weights_file
from glimr_keras.project.checkpoints import Checkpoint
from glimr_keras.project.directory import open_project
from glimr_keras.project.journal import FILE, HIDDEN, Journal
from glimr_keras.project.remote_mirror import Mirror
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.execution import TrialStatus
from tests import hostile, tiny_models
from tests.results import made

SECONDS = 20
"""That no file may take; one takes a few milliseconds."""


def project():
    failed = made.trial(2, [[0.9]], TrialStatus.FAILED, message="ValueError: too large")
    running = made.trial(3, [[0.8, 0.7]], TrialStatus.RUNNING)
    shapes = {"x": {"shape": [8], "dtype": "float32"}}
    trials = [made.trial(0, [[0.5, 0.25]]), made.trial(1, [[0.6, 0.5]]), failed, running]
    return made.project(trials, oracle="RandomSearchOracle", shapes=shapes)


def lines_of(directory):
    """Lines of a journal with a record of each kind."""
    made.written(project(), directory)
    with_all = Journal(directory)
    with_all.add_parameters(made.SPACE[:1])
    with_all.add_directions({"loss": "min"})
    with_all.add_loss("03", 0, "gone")
    with_all.add_retry("03", 0, None)
    with_all.add_again(project().trials["02"])
    with_all.close()
    return with_all.path.read_bytes().split(b"\n")[:-1]


def with_line(directory, number, line):
    """A project of which one line, counted from 1, is another."""
    lines = lines_of(directory)
    lines[number - 1] = line if isinstance(line, bytes) else json.dumps(line).encode()
    (directory / HIDDEN / FILE).write_bytes(b"\n".join(lines) + b"\n")
    return Journal(directory)


def with_fields(directory, number, **fields):
    """A project of which one record has other fields."""
    record = json.loads(lines_of(directory)[number - 1])
    return with_line(directory, number, {**record, **fields})


def use(directory):
    """Reads a project and shows it in all ways."""
    results = gk.RayTuner.open(directory)
    results.results_dataframe()
    gk.experiment_table(results)
    with contextlib.redirect_stdout(io.StringIO()):
        results.results_summary()
    content = Content(gk.RayTuner.open(directory)._glimr.read(), "name", directory, None)
    for tool in ("json", "csv"):
        place = directory.parent / "out"
        tools.export(content, tool, str(place if tool == "csv" else place / "project.json"))
    results.to_study()
    journal, _ = open_project(directory, project(), overwrite=False)
    journal.close()


def check_seeds(directory, seeds):
    lines = lines_of(directory)
    use(directory)
    for seed in seeds:
        (directory / HIDDEN / FILE).write_bytes(
            b"\n".join(hostile.changed_lines(lines, seed)) + b"\n"
        )
        try:
            with hostile.at_most(SECONDS):
                use(directory)
        except ProjectError:
            continue
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


def test_a_changed_journal_is_refused_or_can_be_shown(tmp_path, seeds):
    check_seeds(tmp_path / "project", seeds or range(300))


@pytest.mark.slow
def test_many_changed_journals_are_refused_or_can_be_shown(tmp_path):
    check_seeds(tmp_path / "project", range(1000, 4000))


# What was found


@pytest.mark.parametrize(
    "line",
    [
        b"[" * hostile.NESTED,
        b'{"record":' * hostile.NESTED,
        b'{"record": "trial", "trial_id": "09", "sampling_key": [], "values": {"x": '
        + b"[" * 500
        + b"]" * 500
        + b"}}",
        b'{"record": "x", "y": ' + b"9" * 5000 + b"}",
        b'{"record": []}',
    ],
    ids=["brackets", "objects", "values", "digits", "kind"],
)
def test_more_than_can_be_handled_is_damage(tmp_path, line):
    with pytest.raises(ProjectError, match=r"journal\.jsonl is damaged in line 3: "):
        with_line(tmp_path, 3, line).read()


@pytest.mark.parametrize(
    ("number", "fields"),
    [
        (2, {"trial_id": "0" * 300}),
        (2, {"values": {"tuner/epochs": 10**12}}),
        (2, {"sampling_key": [-1]}),
        (3, {"time": 1e300}),
        (3, {"time": float("nan")}),
        (3, {"execution": "../.."}),
        (3, {"execution": 10**9}),
        (4, {"epoch": "1"}),
        (4, {"epoch": 10**30}),
        (4, {"metrics": {"loss": [1]}}),
        (4, {"worker": 7}),
        (6, {"status": ["COMPLETED"]}),
        (6, {"duration": "long"}),
        (6, {"best_epoch": "first"}),
        (6, {"message": {"x": 1}}),
        (6, {"returned": {"loss": None}}),
    ],
)
def test_a_field_of_another_kind_is_damage(tmp_path, number, fields):
    with pytest.raises(ProjectError, match=rf"journal\.jsonl is damaged in line {number}: "):
        with_fields(tmp_path, number, **fields).read()


@pytest.mark.parametrize(
    "fields",
    [
        {"executions_per_trial": 10**9},
        {"cv_folds": 10**9},
        {"score_at": "first"},
        {"score_at": ["best"]},
        {"version": "2"},
        {"project_id": "x/../../../outside"},
        {"shapes": {"x": {"shape": "8"}}},
        {"objective": {"name": "val_loss", "direction": ["min"]}},
        {"directions": {"loss": "up"}},
        {"time": 1e300},
    ],
)
def test_a_description_that_cannot_be_is_damage(tmp_path, fields):
    with pytest.raises(ProjectError, match=r"journal\.jsonl is damaged in line 1: "):
        with_fields(tmp_path, 1, **fields).read()


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("Float", {"min_value": 0, "max_value": 1e308, "step": 1e-300}),
        ("Boolean", {"conditions": [{"name": ["x"], "values": [1]}]}),
        ("Boolean", {"conditions": [{"name": "x", "values": [{}]}]}),
        ("RayDomain", {"definition": "Float", "domain": "mine"}),
        ("Options", {"values": ["a"], "objects": [{}]}),
    ],
)
def test_a_hyperparameter_that_cannot_be_is_damage(tmp_path, kind, config):
    space = [{"class_name": kind, "config": {"name": "x", **config}}]
    with pytest.raises(ProjectError, match=r"journal\.jsonl is damaged in line 1: "):
        with_fields(tmp_path / "begun", 1, space=space).read()
    with pytest.raises(ProjectError, match=r"journal\.jsonl is damaged in line 5: "):
        with_line(tmp_path / "late", 5, {"record": "space", "parameters": space}).read()


def test_as_many_values_as_there_can_be_are_not_gone_through(tmp_path):
    space = [{"class_name": "Int", "config": {"name": "x", "min_value": 0, "max_value": 10**15}}]
    with_fields(tmp_path / "project", 1, space=space)
    with hostile.at_most(SECONDS), pytest.raises(ProjectError, match="of a different search"):
        use(tmp_path / "project")


@pytest.mark.parametrize("tool", ["csv", "parquet"])
def test_values_beyond_the_integers_of_tables_are_in_tables(tmp_path, tool):
    values = {"seed": 10**30, "units": 8}
    trials = [made.trial(0, [[0.5]], values=values), made.trial(1, [[0.6]])]
    directory = made.written(made.project(trials), tmp_path / "project")
    results = gk.RayTuner.open(directory)
    assert results.results_dataframe()["seed"][0] == 10**30
    content = Content(results._glimr.read(), "name", directory, None)
    tools.export(content, tool, str(tmp_path / f"table.{tool}"))
    written = getattr(pd, f"read_{tool}")(tmp_path / f"table.{tool}")
    assert str(written["seed"][0]) == str(10**30)


@pytest.mark.parametrize("place", [0, None], ids=["first", "last"])
def test_a_line_without_an_end_is_not_read_to_it(tmp_path, place):
    made.written(project(), tmp_path)
    journal = Journal(tmp_path)
    size = 0 if place == 0 else journal.path.stat().st_size
    os.truncate(journal.path, size)
    os.truncate(journal.path, size + 100 * LONGEST)  # which takes no room on the disk
    began = time.monotonic()
    with pytest.raises(ProjectError, match=r"damaged in line 23: .*bytes|There is no glimr_keras"):
        journal.read()
    assert time.monotonic() - began < SECONDS


def test_an_epoch_that_is_trained_again_and_again_takes_no_longer_each_time(tmp_path):
    lines = lines_of(tmp_path)
    record = json.loads(lines[3])
    assert record["record"] == "epoch"
    epochs = [*range(1, 5000), *[4999] * 5000]
    more = [
        json.dumps({**record, "epoch": epoch, "metrics": {"val_loss": 1 / epoch}}).encode()
        for epoch in epochs
    ]
    (tmp_path / HIDDEN / FILE).write_bytes(b"\n".join([*lines[:3], *more]) + b"\n")
    began = time.process_time()
    execution = Journal(tmp_path).read().trials["00"].executions[0]
    assert time.process_time() - began < 5
    assert (len(execution.history), execution.best_epoch) == (4999, 4999)


def test_a_record_that_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    made.written(project(), tmp_path)
    before = Journal(tmp_path).path.read_bytes()
    monkeypatch.setattr("glimr_keras.project.journal.LONGEST", 1000)
    journal = Journal(tmp_path)
    with pytest.raises(gk.errors.StorageError, match="takes records of up to 1000 bytes"):
        journal.add_loss("00", 0, "x" * 1000)
    journal.close()
    assert journal.path.read_bytes() == before


def test_a_pipe_is_no_journal(tmp_path):
    (tmp_path / HIDDEN).mkdir()
    os.mkfifo(tmp_path / HIDDEN / FILE)
    with hostile.at_most(SECONDS):
        assert not Journal(tmp_path).exists()
        with pytest.raises(ProjectError, match="is a link or no file"):
            open_project(tmp_path, project(), overwrite=False)


ESCAPE = "\x1b]0;title\x07<script>alert(1)</script>"


def test_what_is_shown_neither_steers_a_terminal_nor_runs_in_a_browser(tmp_path, capsys):
    lines_of(tmp_path / "project")
    journal = tmp_path / "project" / HIDDEN / FILE
    text, escaped = journal.read_text(), json.dumps(ESCAPE)[1:-1]
    for part in ("wide", "kind", "too large", '"loss', "RandomSearchOracle", "host:"):
        assert part in text
        text = text.replace(part, part + escaped)
    journal.write_text(text)
    results, report = gk.RayTuner.open(tmp_path / "project"), tmp_path / "report.html"
    results.results_summary()
    for trial in results._glimr.read().trials.values():
        trial.summary()
        trial.display_hyperparameters()
    print(results, repr(results))
    assert main(["show", str(tmp_path / "project")]) == 0
    assert main(["report", str(tmp_path / "project"), "-o", str(report)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "<script>alert" not in report.read_text() + results._repr_html_()


def test_a_message_that_is_no_text_can_be_shown(tmp_path):
    made.written(project(), tmp_path / "project")
    journal = tmp_path / "project" / HIDDEN / FILE
    journal.write_text(journal.read_text().replace("too large", "no file '\\ud800.png'"))
    assert main(["show", str(tmp_path / "project")]) == 0
    report = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "project"), "-o", str(report)]) == 0
    assert "no file &#x27;\\ud800.png" in report.read_text()


# Links


def outside_of(tmp_path):
    """A directory that is not the project's."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("without an end of the line\nhere")
    return outside


def content_of(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_journal_is_written_through_a_link(tmp_path, overwrite):
    outside = outside_of(tmp_path)
    (tmp_path / "project" / HIDDEN).mkdir(parents=True)
    (tmp_path / "project" / HIDDEN / FILE).symlink_to(outside / "mine.txt")
    before = content_of(outside)
    with pytest.raises(ProjectError, match="is a link or no file"):
        open_project(tmp_path / "project", project(), overwrite)
    assert content_of(outside) == before


def test_no_journal_is_written_into_a_directory_that_is_linked(tmp_path):
    outside = made.written(project(), tmp_path / "outside")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / HIDDEN).symlink_to(outside / HIDDEN)
    with pytest.raises(ProjectError, match="is a link or no file"):
        open_project(tmp_path / "project", project(), overwrite=False)


@pytest.mark.parametrize(
    "name", ["trial_03", "trial_03/latest", "trial_03/checkpoint.weights.h5", "oracle.json"]
)
def test_no_search_goes_on_where_a_link_leads_out_of_the_project(tmp_path, name):
    outside = outside_of(tmp_path)
    directory = made.written(project(), tmp_path / "project")
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).symlink_to(outside)
    with pytest.raises(ProjectError, match="is a link out of the project"):
        open_project(directory, project(), overwrite=False)
    gk.RayTuner.open(directory).results_dataframe()  # which writes nothing


def test_a_project_behind_a_link_and_with_links_inside_goes_on(tmp_path):
    directory = made.written(project(), tmp_path / "there")
    (directory / "trial_00").mkdir()
    (directory / "trial_01").symlink_to(directory / "trial_00")
    (directory / "data").symlink_to(tmp_path)  # the user's own
    (tmp_path / "project").symlink_to(directory)
    journal, there = open_project(tmp_path / "project", project(), overwrite=False)
    journal.close()
    assert len(there.trials) == 4


def test_nothing_is_written_through_links_that_lie_where_files_are_made(tmp_path):
    outside = outside_of(tmp_path)
    before = content_of(outside)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / checkpoints.NEW).symlink_to(outside / "mine.txt")
    model_weights.save(tiny_models.build(HyperParameters()), tmp_path / "new", Checkpoint(1))
    (tmp_path / "new" / ".file.json").symlink_to(outside / "mine.txt")
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(tmp_path / "new" / "file.json", b"{}")
    assert content_of(outside) == before


def test_names_at_a_uri_do_not_leave_the_local_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / "cache"))
    mirror = Mirror("memory://hostile/project")
    weights, place = b"weights", tmp_path / "made"
    model_weights.save(tiny_models.build(HyperParameters()), place, Checkpoint(1))
    files = checkpoints.packed(place)
    names = [
        f"{folder}/{name}"
        for folder in ("trial_0/../../../outside", "trial_0/../../../outside/latest/epoch_1")
        for name in files
    ]
    monkeypatch.setattr(mirror._remote, "names", lambda: iter(names))
    monkeypatch.setattr(
        mirror._remote, "content", lambda name: files.get(pathlib.PurePosixPath(name).name)
    )
    mirror.fetch_all()
    mirror.pull_states()
    assert weights and not list(tmp_path.rglob("outside*"))


# KerasTuner's files, and those that an oracle reads


def of_keras_tuner(directory):
    """The files of a project as KerasTuner writes it, by path."""
    theirs = made.project([made.trial(0, [[0.5, 0.25]]), made.trial(1, [[0.625, 0.5]])])
    space = HyperParameters(space=theirs.parameters).get_config()
    contents = {"oracle.json": {"hyperparameters": space, "start_order": [*theirs.trials]}}
    for trial in theirs.trials.values():
        contents[f"trial_{trial.trial_id}/trial.json"] = trial.get_state()
    for name, content in contents.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(json.dumps(content))
    return contents


def test_changed_files_of_keras_tuner_are_refused_or_can_be_shown(tmp_path, seeds):
    contents = of_keras_tuner(tmp_path)
    for seed in seeds or range(150):
        name, text = hostile.changed_file(contents, seed)
        (tmp_path / name).write_bytes(text)
        try:
            with hostile.at_most(SECONDS):
                results = gk.open_keras_tuner_project(tmp_path)
                results.results_dataframe()
                gk.experiment_table(results)
        except ProjectError:
            pass
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        (tmp_path / name).write_text(json.dumps(contents[name]))


def test_a_trial_of_keras_tuner_that_is_another_than_its_folder_is_refused(tmp_path):
    contents = of_keras_tuner(tmp_path)
    state = contents["trial_00/trial.json"] | {"trial_id": "/../../outside"}
    (tmp_path / "trial_00" / "trial.json").write_text(json.dumps(state))
    with pytest.raises(ProjectError, match=r"trial\.json is damaged: .*the folder's trial"):
        keras_tuner_files.read(tmp_path)
    oracle = Oracle("val_loss", 3)
    oracle._set_project_dir(tmp_path.parent, tmp_path.name)
    with pytest.raises(ProjectError, match=r"trial\.json is damaged: .*the folder's trial"):
        oracle.reload()


# Checkpoints


def saved(directory):
    model_weights.save(tiny_models.build(HyperParameters()), directory, Checkpoint(1))
    return directory


def test_changed_descriptions_of_checkpoints_are_refused_or_can_be_loaded(tmp_path, seeds):
    contents = {
        checkpoints.DESCRIPTION: json.loads((saved(tmp_path) / checkpoints.DESCRIPTION).read_text())
    }
    for seed in seeds or range(150):
        name, text = hostile.changed_file(contents, seed)
        (tmp_path / name).write_bytes(text)
        try:
            with hostile.at_most(SECONDS):
                model_weights.load(tiny_models.build(HyperParameters()), tmp_path)
        except (CheckpointError, gk.errors.ModelError):
            continue
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


def changed_weights(directory, change):
    """A checkpoint whose weights were changed, and whose description is of them."""
    weights = saved(directory) / checkpoints.WEIGHTS
    with h5py.File(weights, "a") as file:
        datasets = []
        file.visititems(
            lambda name, part: datasets.append(name) if hasattr(part, "shape") else None
        )
        change(file, datasets[0])
    described = json.loads((directory / checkpoints.DESCRIPTION).read_text())
    described["digest"] = checkpoints.digest_of(weights)
    (directory / checkpoints.DESCRIPTION).write_text(json.dumps(described))


def with_terabytes(file, name):
    del file[name]
    file.create_dataset(name, shape=(2**20, 2**18), dtype="float32")


def with_zipped_zeros(file, name):
    del file[name]
    file.create_dataset(
        name, data=np.zeros(3 * 10**7, "float32"), chunks=(10**7,), compression="gzip"
    )


def with_external_link(file, name):
    shape = file[name].shape
    with h5py.File(pathlib.Path(file.filename).with_name("outside.h5"), "w") as other:
        other["secret"] = np.ones(shape, "float32")
    del file[name]
    file[name] = h5py.ExternalLink("outside.h5", "secret")


def with_external_storage(file, name):
    shape = file[name].shape
    outside = pathlib.Path(file.filename).with_name("outside.bin")
    outside.write_bytes(np.ones(shape, "float32").tobytes())
    del file[name]
    file.create_dataset(
        name, shape=shape, dtype="float32", external=[(str(outside), 0, h5py.h5f.UNLIMITED)]
    )


def with_virtual_dataset(file, name):
    shape = file[name].shape
    outside = pathlib.Path(file.filename).with_name("outside.h5")
    with h5py.File(outside, "w") as other:
        other["secret"] = np.ones(shape, "float32")
    layout = h5py.VirtualLayout(shape, "float32")
    layout[...] = h5py.VirtualSource(str(outside), "secret", shape=shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def with_reference(file, name):
    del file[name]
    file.create_dataset(name, data=file.ref, dtype=h5py.ref_dtype)


def with_soft_link(file, name):
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


@pytest.mark.parametrize(
    "change",
    [
        with_terabytes,
        with_zipped_zeros,
        with_external_link,
        with_external_storage,
        with_virtual_dataset,
        with_reference,
        with_soft_link,
    ],
)
def test_weights_that_lead_out_of_their_file_are_not_read(tmp_path, change):
    changed_weights(tmp_path, change)
    with pytest.raises(CheckpointError, match=r"checkpoint\.weights\.h5 cannot be read: /"):
        model_weights.load(tiny_models.build(HyperParameters()), tmp_path)
    with pytest.raises(CheckpointError, match=r"checkpoint\.weights\.h5 cannot be read: /"):
        model_weights.load_weights(
            tiny_models.build(HyperParameters()), tmp_path / checkpoints.WEIGHTS
        )


def test_weights_that_were_compressed_are_read(tmp_path):
    def compressed(file, name):
        content = file[name][()]
        del file[name]
        file.create_dataset(name, data=np.zeros_like(content), chunks=True, compression="gzip")

    changed_weights(tmp_path, compressed)
    model_weights.load(tiny_models.build(HyperParameters()), tmp_path)


def test_a_group_that_is_in_itself_has_an_end(tmp_path):
    def change(file, name):
        file[f"{name.rpartition('/')[0]}/again"] = file["/"]

    changed_weights(tmp_path, change)
    with hostile.at_most(SECONDS):
        weights_file.check(tmp_path / checkpoints.WEIGHTS)


def test_weights_that_are_none_are_not_read(tmp_path):
    saved(tmp_path)
    (tmp_path / checkpoints.WEIGHTS).write_bytes(b"no HDF5")
    described = json.loads((tmp_path / checkpoints.DESCRIPTION).read_text()) | {"digest": None}
    (tmp_path / checkpoints.DESCRIPTION).write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match=r"checkpoint\.weights\.h5 cannot be read: "):
        model_weights.load(tiny_models.build(HyperParameters()), tmp_path)


@pytest.mark.parametrize("name", [checkpoints.WEIGHTS, checkpoints.DESCRIPTION])
def test_a_pipe_is_no_checkpoint(tmp_path, name):
    saved(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with hostile.at_most(SECONDS), pytest.raises(CheckpointError, match="is damaged"):
        model_weights.load(tiny_models.build(HyperParameters()), tmp_path)


@pytest.mark.parametrize(
    "description",
    [
        {"built": [], "paths": []},
        {"built": {}, "paths": [None]},
        {"built": {"x": [7]}, "paths": []},
        {"built": {}, "paths": ["x"] * 9},
        [],
    ],
)
def test_a_state_that_cannot_be_is_damage(tmp_path, description):
    def change(file, _):
        file.create_group("glimr_keras_state")["description"] = json.dumps(description)

    changed_weights(tmp_path, change)
    with pytest.raises(CheckpointError, match=r"The state of a training in .* is damaged"):
        model_weights.load(tiny_models.build(HyperParameters()), tmp_path)
