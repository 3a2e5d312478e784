"""A project that is read from a digest of its journal is the one that is read without it."""

import binascii
import dataclasses
import errno
import hashlib
import json
import pathlib
import random
import struct
import tempfile
import uuid

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glimr_keras.errors import ProjectError
from glimr_keras.project import digest
from glimr_keras.project import journal as journals
from glimr_keras.project.directory import open_project
from glimr_keras.project.journal import HIDDEN, Journal, Project, serialized
from glimr_keras.results import tables
from glimr_keras.space.hp_types import Float
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.trials.packed import SINGLE
from glimr_keras.trials.trial import Trial
from tests import hostile
from tests.project.test_many_trials import searched
from tests.results import made
from tests.simulation import runs
from tests.simulation.disk import AFTER, Fault, Killed
from tests.simulation.plans import plans
from tests.simulation.searches import Plan, Session
from tests.simulation.test_simulation import ANY
from tests.simulation.trainings import Kind
from tests.trials.test_packed import state

NAN, INF = float("nan"), float("inf")


def everything(project):
    """All that a project has, to the bit, and the order of it."""
    described = {name: value for name, value in vars(project).items() if name != "trials"}
    return repr(described), [
        (name, state(trial.to_read()), repr(trial.to_read()), trial.score, trial.best_step)
        for name, trial in project.trials.items()
    ]


def written(directory, lines):
    journal = Journal(directory)
    journal.path.parent.mkdir(parents=True, exist_ok=True)
    journal.path.write_bytes(b"".join(lines))
    return journal


def digested(directory, lines, monkeypatch):
    """A journal of these lines, and a digest of all of them."""
    journal = written(directory, lines)
    with monkeypatch.context() as patch:
        patch.setattr(digest, "MUCH", -1)
        journal.keep_digest()
    return journal


def check_cuts(lines, directory, monkeypatch, cuts=None):
    """Reading from a digest of any beginning is as reading without one."""
    expected = everything(written(directory / "without", lines).read())
    restored, restore = [], digest.restore
    monkeypatch.setattr(
        digest, "restore", lambda *given: restored.append(restore(*given)) or restored[-1]
    )
    for cut in cuts or range(1, len(lines) + 1):
        journal = digested(directory / "with", lines[:cut], monkeypatch)
        journal.path.write_bytes(b"".join(lines))
        restored.clear()
        assert everything(journal.read()) == expected
        size = len(b"".join(lines[:cut]))
        assert restored == [digest.Covered(size, cut)]
        with monkeypatch.context() as patch:  # and a digest of what a digest and more say
            patch.setattr(digest, "MUCH", -1)
            journal.keep_digest()
        assert everything(journal.read()) == expected
        assert restored[-1].lines == len(lines)


def all_kinds(directory, text="ü"):
    """The lines of a journal with all that records can say."""
    objective = MultiObjective([Objective("val_loss", "min"), Objective("size", "max")])
    journal = Journal(directory)
    journal.create(
        Project(
            objective,
            1,
            2,
            serialized(made.SPACE),
            cv_folds=2,
            score_at="common",
            directions={"size": "max"},
        )
    )
    base = {"units": 8, "rate": 1e-3, "kind": "wide", "norm": False, "zero": -0.0, "none": None}
    plan = [
        base,
        {**base, "rate": NAN, "zero": 0.0},
        {**base, "list": [1, {"a": INF}]},
        {"tuner/epochs": 3, "tuner/trial_id": "0", "units": 8, "tuner/round": 0},
        {},
        {**base, "text": text},
        base,
        base,
        base,
        base,
    ]
    trials = [Trial.of(str(number), values, (1, number, 0)) for number, values in enumerate(plan)]

    def trained(trial, number, metrics, end=TrialStatus.COMPLETED, **changes):
        journal.start_execution(trial.trial_id, number, made.BEGAN + number)
        for epoch, seen in metrics:
            journal.add_epoch(trial.trial_id, number, epoch, seen, "host:2" if epoch == 1 else None)
        if end is not None:
            scores = [each["val_loss"] for _, each in metrics if "val_loss" in each]
            execution = Execution(end, best_epoch=1, score=min(scores, default=None), duration=2.5)
            execution.ended = made.BEGAN + 9.25
            for name, value in changes.items():
                setattr(execution, name, value)
            journal.end_execution(trial.trial_id, number, execution, trial.values)

    def ended(trial, status=TrialStatus.COMPLETED, **changes):
        trial.status = status
        for name, value in changes.items():
            setattr(trial, name, value)
        journal.end_trial(trial)

    usual = [(epoch, {"val_loss": 1 / epoch, "size": 0.1 * epoch}) for epoch in (1, 2, 3)]
    for trial in trials[:6]:
        journal.add_trial(trial)
        trained(trial, 0, usual, worker="host:1", started=made.BEGAN + 1.5)
        trained(trial, 1, [(1, {"val_loss": NAN, "size": -INF})], score=NAN)
        if trial.trial_id in "12":  # at another epoch than that of its weights
            trial.executions[0] = Execution(best_epoch=3, weights_epoch=1)
        ended(trial)
    journal.add_parameters([Float("late", 0.0, 1.0)])
    journal.add_directions({"late": None, "val_loss": "min"})
    lost, again, scored, left = trials[6:]
    journal.add_trial(lost)
    lost.values = {**base, "late": 0.5}
    trained(lost, 0, usual[:2], end=None)
    journal.add_loss("6", 0, "gone")
    trained(lost, 0, [usual[0], (2, {"val_loss": 5.0}), (3, {"other": 1.0}), (4, {})])
    trained(lost, 1, usual, TrialStatus.FAILED, message="ü" * 3, gpu_memory=2**40)
    journal.add_retry("6", 1, "why")
    trained(lost, 1, [(1.0, {"val_loss": 3.0}), (2.0, {"val_loss": 2.0})], is_told=True)
    trained(lost, 7, [], TrialStatus.STOPPED, reused_graph=True, returned={"val_loss": NAN})
    ended(lost, TrialStatus.STOPPED)
    journal.add_trial(again)
    trained(again, 0, [(2, usual[0][1]), (1, usual[1][1]), (2, usual[2][1])], TrialStatus.FAILED)
    ended(again, TrialStatus.FAILED, message="Traceback\n\udc80")
    journal.add_again(again)
    trained(again, 0, usual)
    ended(again)
    trained(again, 1, usual)
    journal.add_trial(scored)
    trained(scored, 1, usual)
    trained(scored, 0, usual, duration=3, best_epoch=None)
    ended(scored, score=INF, best_step=None)
    journal.add_trial(left)
    trained(left, 0, usual, end=None)
    journal.add_epoch("9", 1, 1, {})
    journal.add_epoch("9", 1, 2, {})
    journal.add_trial(trials[0])
    journal.close()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    old = [json.loads(line) for line in lines[1:4]]
    for record in old:
        del record["time"]
        record["trial_id"] = "10"
    lines += [json.dumps(record).encode() + b"\n" for record in old]
    lines += [json.dumps({**old[2], "epoch": 2, "time": 5}).encode() + b"\n"]
    end = {**json.loads(lines[1]), "record": "end", "status": "STOPPED", "message": None}
    empty = {"record": "epoch", "trial_id": "10", "execution": 3, "metrics": {}}
    for epoch in (1, 2):
        lines += [json.dumps({**empty, "epoch": epoch, "time": epoch}).encode() + b"\n"] * epoch
    lines += [json.dumps({**empty, "epoch": 3}).encode() + b"\n", b'{"record": "unknown"}\n']
    return [*lines, json.dumps({**end, "trial_id": "10"}).encode() + b"\n"]


def test_records_of_all_kinds_are_read_from_a_digest(tmp_path, monkeypatch):
    lines = all_kinds(tmp_path / "made", "ü\ud800")
    assert sum(b"scored_at" in line for line in lines) == 2
    check_cuts(lines, tmp_path, monkeypatch)


@settings(ANY, max_examples=25)
@given(plans(), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_searches_that_break_anywhere_are_read_from_a_digest(plan, cuts):
    lines, look = [], runs._Run._come_of_it

    def kept(self):
        lines[:] = Journal(self._directory).path.read_bytes().splitlines(keepends=True)
        return look(self)

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setattr(runs._Run, "_come_of_it", kept)
        runs.run(plan)
        whole = len(lines)
        places = {1, whole, *(round(1 + cut * (whole - 1)) for cut in cuts)}
        check_cuts(lines, pathlib.Path(directory), patch, places)


def test_a_search_goes_on_from_a_digest_as_from_the_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "MUCH", -1)
    covered, read = [], Journal._read

    def noted(self):
        found = read(self)
        covered.append(found[1].lines)
        return found

    monkeypatch.setattr(Journal, "_read", noted)
    session = Session(faults=(Fault("killed", "driver", 40, AFTER),))
    runs.run(Plan(trials=4, executions=2, kind=Kind(fails=30), retries=1, sessions=(session,)))
    assert max(covered) > 10


def plain_journal(directory, monkeypatch):
    return digested(directory, all_kinds(directory / "made"), monkeypatch)


def fits(journal):
    """Whether a digest is read."""
    return journal._read()[1].size > 0


def test_a_digest_of_another_journal_is_none(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    content, expected = journal.path.read_bytes(), everything(journal.read())
    assert fits(journal)
    place = content.rindex(b'"duration": 2.5')
    changed = content[:place] + content[place:].replace(b"2.5", b"2.4", 1)
    for other in (changed, content[: content.rindex(b"\n", 0, -1) + 1]):
        journal.path.write_bytes(other)
        assert not fits(journal)
        assert everything(journal.read()) != expected
    journal.path.write_bytes(content + b'{"record": "torn')
    assert fits(journal)
    assert everything(journal.read()) == expected


def test_a_damaged_or_foreign_digest_is_passed_over(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    expected = everything(journal.read())
    path = journal.path.with_name(digest.FILE)
    content, chance = path.read_bytes(), random.Random(1)
    for _ in range(200):
        place = chance.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert everything(journal.read()) == expected
    for length in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert not fits(journal)
    head, _, body = content.partition(b"\n")
    for _ in range(300):
        said = json.dumps(hostile.changed_json(json.loads(head), chance)).encode()
        path.write_bytes(said + b"\n" + body)
        assert everything(journal.read()) == expected
        journal.keep_digest()
    path.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(digest, "_VERSION", [0])
        assert not fits(journal)
    path.unlink()
    path.mkdir()
    assert not fits(journal)
    journal.keep_digest()  # which cannot be
    assert everything(journal.read()) == expected


def test_a_journal_that_is_damaged_after_a_digest_says_in_which_line(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    with journal.path.open("ab") as file:
        number = len(journal.path.read_bytes().splitlines()) + 2
        file.write(b'{"record": "unknown"}\n{"record": 5}\n')
    with pytest.raises(ProjectError, match=f"damaged in line {number}:"):
        journal.read()


def files_in(directory):
    return [path.name for path in (directory / HIDDEN).iterdir()]


def open_again(journal):
    """The project as a search opens it."""
    wanted = journal.read()
    directory = journal.path.parents[1]
    opened, project = open_project(directory, wanted, overwrite=False)
    opened.close()
    return project


def sealed(journal, lines, /, **said):
    """Writes a digest that claims these lines, as somebody hostile can."""
    path = journal.path.with_name(digest.FILE)
    head = json.loads(path.read_bytes().split(b"\n")[0]) | said
    head["body"] = hashlib.blake2b(b"".join(lines)).hexdigest()
    path.write_bytes(json.dumps(head).encode() + b"\n" + b"".join(lines))


def test_a_hostile_digest_is_passed_over_or_says_what_can_be(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    lines = journal.path.with_name(digest.FILE).read_bytes().splitlines(keepends=True)[1:]
    sealed(journal, lines)
    assert fits(journal)
    chance, taken = random.Random(1), 0
    for _ in range(600):
        place = chance.randrange(len(lines))
        said = hostile.changed_json(json.loads(lines[place]), chance)
        line = chance.choice((json.dumps(said).encode(), chance.choice(hostile.RAW))) + b"\n"
        sealed(journal, [*lines[:place], line, *lines[place + 1 :]])
        with hostile.at_most(5):
            project, covered, _ = journal._read()
            everything(project)
            tables.results_dataframe(project)
            tables.epochs_table(project, tmp_path, "name")
        taken += covered.size > 0
    assert 20 < taken < 580


def test_what_no_journal_can_come_to_is_in_no_digest(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    lines = journal.path.with_name(digest.FILE).read_bytes().splitlines(keepends=True)[1:]
    layout = next(line for line in lines if line.startswith(b'{"layout"'))
    usual = next(line for line in lines if line.startswith(b"[0,"))
    short, early = json.loads(usual), json.loads(usual)
    short[-1][0][4] = short[-1][0][4][:-16] + "AAAAAAAAAAA="
    early[-1][0][6] = binascii.b2a_base64(struct.pack("3d", 1.0, -1.0, 2.0)).decode()

    def changed(said):
        return [json.dumps(said).encode() + b"\n" if line == usual else line for line in lines]

    sealed(journal, [*lines, layout])
    assert fits(journal)
    much = (digest._AT_LEAST + 2 * journal.path.stat().st_size) // len(layout)
    ended = json.loads(lines[0])
    unknown = json.dumps([*ended[:2], [*ended[2], "99"]]).encode() + b"\n"
    for wrong in (
        [*lines, *[layout] * much],
        [*lines, usual],
        changed(short),
        changed(early),
        [unknown, *lines[1:]],
    ):
        sealed(journal, wrong)
        assert not fits(journal)
    early[-1][0][6] = binascii.b2a_base64(struct.pack("3d", 1.0, 1.0, 2.0)).decode()
    sealed(journal, changed(early))
    assert fits(journal)


def body_of(journal):
    path = journal.path.with_name(digest.FILE)
    return path.read_bytes().splitlines(keepends=True)[1:]


def test_a_digest_of_more_than_the_journal_is_none(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    expected, lines = everything(journal.read()), body_of(journal)
    size, count = journal.path.stat().st_size, len(journal.path.read_bytes().splitlines())
    for more in (1, 10**12):
        for found in (None, "", hashlib.blake2b(journal.path.read_bytes()).hexdigest()):
            sealed(journal, lines, covers=[size + more, count], journal=found)
            assert not fits(journal)
            assert everything(journal.read()) == expected
            journal.keep_digest()


def test_a_digest_ends_where_a_line_does(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    lines, content = body_of(journal), journal.path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for size in (last, last + 1, last - 1, len(content) - 1, 5):
        found = hashlib.blake2b(content[:size]).hexdigest()
        sealed(journal, lines, covers=[size, 100], journal=found)
        assert fits(journal) == (size == last)


def test_more_than_there_are_records_is_not_counted(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    size, lines = journal.path.stat().st_size, body_of(journal)
    records = len(journal.path.read_bytes().splitlines())
    usual = next(place for place, line in enumerate(lines) if line.startswith(b"[0,"))
    other = next(place for place, line in enumerate(lines) if b'"executions":[[' in line)

    def changed(place, change):
        said = json.loads(lines[place])
        change(said)
        return [*lines[:place], json.dumps(said).encode() + b"\n", *lines[place + 1 :]]

    def sets(value, *path):
        def change(said):
            for name in path[:-1]:
                said = said[name]
            said[path[-1]] = value

        return change

    attempt = SINGLE.index("attempt")
    lost, started, message = map(SINGLE.index, ("lost", "started", "message"))
    for place, path in (
        (usual, (1, 1)),
        (usual, (-1, 0, 1, attempt)),
        (usual, (-1, 0, 1, lost)),
        (other, ("trial", 1)),
        (other, ("executions", 0, 1, attempt)),
        (other, ("executions", 0, 1, lost)),
    ):
        for value in (records, records + 1):
            sealed(journal, changed(place, sets(value, *path)))
            assert fits(journal) == (value == records)
    for place, path in ((usual, (-1, 0, 1)), (other, ("executions", 0, 1))):
        sealed(journal, changed(place, sets(5, *path, started)))
        assert not fits(journal)
        sealed(journal, changed(place, sets("\udc80", *path, message)))
        assert fits(journal)
        said = [e.message for t in journal.read().trials.values() for e in t.executions.values()]
        assert "\\udc80" in said
    sealed(journal, lines, covers=[size, 3])
    assert not fits(journal)


def test_a_trial_has_not_ended_without_a_record_of_it(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    lines = body_of(journal)
    late_space, directions, end_order = json.loads(lines[0])
    kept = [name for name in end_order if name != "1"]
    sealed(journal, [json.dumps([late_space, directions, kept]).encode() + b"\n", *lines[1:]])
    assert not fits(journal)


def test_a_project_that_is_begun_anew_has_no_digest(tmp_path, monkeypatch):
    journal = plain_journal(tmp_path, monkeypatch)
    old = journal.path.with_name(digest.FILE).read_bytes()
    opened, _ = open_project(tmp_path, journal.read(), overwrite=True)
    opened.close()
    assert files_in(tmp_path) == ["journal.jsonl"]
    journal.path.with_name(digest.FILE).write_bytes(old)  # of another project
    assert not fits(journal)
    assert journal.read().trials == {}


def test_who_is_killed_while_writing_a_digest_leaves_none_or_all_of_it(tmp_path, monkeypatch):
    lines = all_kinds(tmp_path / "made")
    journal = written(tmp_path, lines)
    expected = everything(journal.read())
    monkeypatch.setattr(digest, "MUCH", -1)
    path = journal.path.with_name(digest.FILE)
    for had_one in (False, True):
        for part in (0, 1000, None):

            def killed(place, content, part=part):
                place.with_name(f".{place.name}").write_bytes(content[:part])
                raise Killed

            with monkeypatch.context() as patch, pytest.raises(Killed):
                patch.setattr(digest, "write_whole", killed)
                journal.keep_digest_of(journal.read())
            assert path.exists() == had_one
            assert everything(journal.read()) == expected
        journal.keep_digest_of(journal.read())
        assert fits(journal)
        assert sorted(files_in(tmp_path)) == ["digest.jsonl", "journal.jsonl"]


def test_another_reader_meanwhile_has_the_old_digest_or_the_new(tmp_path, monkeypatch):
    lines = all_kinds(tmp_path / "made")
    expected = everything(written(tmp_path / "without", lines).read())
    journal = digested(tmp_path / "with", lines[:20], monkeypatch)
    journal.path.write_bytes(b"".join(lines))
    restore = digest._restore

    def renewed(journal_file, file, *rest):  # by the process that has the lock
        with monkeypatch.context() as patch:
            patch.setattr(digest, "_restore", restore)
            patch.setattr(digest, "MUCH", -1)
            Journal(tmp_path / "with").keep_digest()
        return restore(journal_file, file, *rest)

    monkeypatch.setattr(digest, "_restore", renewed)
    project, covered, _ = journal._read()
    assert covered.lines == 20
    assert everything(project) == expected
    monkeypatch.setattr(digest, "_restore", restore)
    assert journal._read()[1].lines == len(lines)


def test_a_digest_is_of_what_records_come_to_now(tmp_path, monkeypatch):
    """If this fails since records come to something else, `_VERSION` of a digest must change."""
    monkeypatch.setattr(journals, "now", lambda: made.BEGAN)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))
    body = b"".join(body_of(plain_journal(tmp_path, monkeypatch)))
    assert (digest._VERSION[0], hashlib.blake2b(body, digest_size=8).hexdigest()) == (
        1,
        "8757f1aaa8d3cfc3",
    )


def test_what_only_reads_writes_no_digest(tmp_path, monkeypatch):
    journal = written(tmp_path, all_kinds(tmp_path / "made"))
    monkeypatch.setattr(digest, "MUCH", 100)
    journal.read()
    assert files_in(tmp_path) == ["journal.jsonl"]
    monkeypatch.setattr(digest, "MUCH", journal.path.stat().st_size)
    open_again(journal)
    journal.keep_digest()
    assert files_in(tmp_path) == ["journal.jsonl"]
    monkeypatch.setattr(digest, "MUCH", journal.path.stat().st_size - 1)
    path = journal.path.with_name(digest.FILE)
    with pytest.raises(ProjectError, match="different search"):
        wanted = dataclasses.replace(journal.read(), cv_folds=3)
        open_project(tmp_path, wanted, overwrite=False)
    assert not path.exists()
    open_again(journal)
    assert fits(journal)
    path.unlink()
    journal.keep_digest()
    first = path.stat().st_ino
    open_again(journal)
    journal.keep_digest()
    assert path.stat().st_ino == first


def test_a_full_disk_is_no_error_of_a_digest(tmp_path, monkeypatch):
    journal = written(tmp_path, all_kinds(tmp_path / "made"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(digest, "MUCH", -1)
    monkeypatch.setattr(digest, "write_whole", full)
    assert everything(open_again(journal)) == everything(journal.read())
    journal.keep_digest()


def test_a_search_keeps_a_digest_that_is_not_sent_to_its_uri(tmp_path, monkeypatch):
    monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digest, "MUCH", -1)
    uri = (tmp_path / "there").as_uri()
    searched(uri, 2)
    searched(uri, 3)
    (here,) = (tmp_path / "cache").rglob(digest.FILE)
    assert fits(Journal(here.parents[1]))
    assert [*(tmp_path / "there").rglob("journal.jsonl")]
    assert not [*(tmp_path / "there").rglob(digest.FILE)]


def test_tables_of_packed_trials_are_those_of_others(tmp_path):
    project = written(tmp_path, all_kinds(tmp_path / "made")).read()
    assert sum(trial.is_packed for trial in project.trials.values()) > 4
    packed = tables.results_dataframe(project), tables.epochs_table(project, tmp_path, "name")
    for trial in project.trials.values():
        assert trial.executions is not None  # which unpacks it
        assert not trial.is_packed
    others = tables.results_dataframe(project), tables.epochs_table(project, tmp_path, "name")
    for one, other in zip(packed, others, strict=True):
        pd.testing.assert_frame_equal(one, other)
