"""A project that is read from a digest of its journal is the one that is read without it."""

import json

from glimr_keras.project import digest
from glimr_keras.project.journal import Journal, Project, serialized
from glimr_keras.space.hp_types import Float
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.trials.trial import Execution, Trial, TrialStatus
from tests.results import made
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


def used(monkeypatch):
    """How much of each journal that is read from here on is read from a digest."""
    found, restore = [], digest.restore

    def noted(*given):
        found.append(restore(*given).size)
        return digest.Covered(found[-1], noted.lines.get(found[-1], 0))

    return found


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


def all_kinds(directory):
    """The lines of a journal with all that records can say."""
    objective = MultiObjective([Objective("val_loss", "min"), Objective("size", "max")])
    journal = Journal(directory)
    journal.create(
        Project(objective, 1, 2, serialized(made.SPACE), cv_folds=2, directions={"size": "max"})
    )
    base = {"units": 8, "rate": 1e-3, "kind": "wide", "norm": False, "zero": -0.0, "none": None}
    plan = [
        base,
        {**base, "rate": NAN, "zero": 0.0},
        {**base, "list": [1, {"a": INF}]},
        {"tuner/epochs": 3, "tuner/trial_id": "0", "units": 8, "tuner/round": 0},
        {},
        {**base, "text": "ü\ud800"},
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
    end = {**json.loads(lines[1]), "record": "end", "status": "RUNNING", "message": None}
    empty = {"record": "epoch", "trial_id": "10", "execution": 3, "metrics": {}}
    for epoch in (1, 2):
        lines += [json.dumps({**empty, "epoch": epoch, "time": epoch}).encode() + b"\n"] * epoch
    lines += [json.dumps({**empty, "epoch": 3}).encode() + b"\n", b'{"record": "unknown"}\n']
    return [*lines, json.dumps({**end, "trial_id": "10"}).encode() + b"\n"]


def test_records_of_all_kinds_are_read_from_a_digest(tmp_path, monkeypatch):
    check_cuts(all_kinds(tmp_path / "made"), tmp_path, monkeypatch)
