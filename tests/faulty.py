"""A search in which something goes wrong once, at a given moment. Also a script, with directory,
kind, moment and executor.

The moments of journal records are the driver's; the others are the worker's, in the second epoch of
the configuration `BAD`.
"""

import functools
import json
import os
import pathlib
import signal
import sys
import time

import keras
import psutil

import glimr_keras as gk
from glimr_keras.project import checkpoints
from glimr_keras.project.journal import Journal
from tests import tiny_models

UNITS = [2, 3, 4]
BAD = 3
EPOCHS = 3
MOMENTS = ("first report", "mid-epoch", "checkpoint", "journal", "between", "end")


def score(units, epoch):
    """Of an epoch, counted from 0: the second is the best."""
    return units + abs(epoch - 1) / 10


class Faulty(gk.HyperModel):
    """Trains nothing, and writes down what it does.

    Args:
        notes: A directory for that.
        moment: When `act` happens, once.
        act: A function without arguments.
    """

    def __init__(self, notes, moment=None, act=None, seconds=0.05):
        self.notes, self.moment, self.act, self.seconds = pathlib.Path(notes), moment, act, seconds

    def build(self, config):
        units = config.Choice("units", UNITS)
        if units == BAD:
            self.at("first report")
        return tiny_models.compiled(
            keras.Sequential([keras.Input((6,)), keras.layers.Dense(units), keras.layers.Dense(2)])
        )

    def fit(self, config, model, *args, callbacks, epochs, initial_epoch=0, **kwargs):
        units = config["units"]
        self.note("began", units, initial_epoch)

        def logs(epoch):
            if units == BAD and epoch == 1:
                self.at("mid-epoch")
                if self.moment == "checkpoint" and self.is_trial():
                    self.at_rename()
            return {"val_loss": score(units, epoch)}

        tiny_models.train_by_hand(model, callbacks, epochs, logs, initial_epoch, self.seconds)
        self.note("completed", units, epochs)

    def is_trial(self):
        """Whether a search has begun, and this is no look at the model before it."""
        return any(
            any(self.notes.glob(f"../{place}/.glimr_keras/journal.jsonl"))
            for place in ("*", "*/glimr_keras/*")
        )

    def at_rename(self):
        """Acts when a checkpoint's weights would be put in their place."""
        original = pathlib.Path.replace

        def replace(path, target):
            if pathlib.Path(target).name == checkpoints.WEIGHTS:
                self.at("checkpoint")
            return original(path, target)

        pathlib.Path.replace = replace

    def at(self, moment):
        if moment == self.moment and self.is_trial() and happens_once(self.notes):
            self.act()

    def note(self, what, units, epoch):
        if not self.is_trial():
            return
        with (self.notes / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(
                json.dumps({"what": what, "units": units, "epoch": epoch, "at": time.time()}) + "\n"
            )


def happens_once(notes):
    try:
        (notes / "happened").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def noted(notes):
    """All notes, in their order."""
    lines = [
        json.loads(line) for file in notes.glob("*.jsonl") for line in file.read_text().splitlines()
    ]
    return sorted(lines, key=lambda line: line["at"])


class FaultyJournal:
    """Acts in the driver, where a journal is written."""

    def __init__(self, notes, moment, act):
        self.notes, self.moment, self.act = notes, moment, act
        self.ended = 0
        self.original = Journal._append

    def __enter__(self):
        Journal._append = functools.partialmethod(FaultyJournal.append, self)

    def __exit__(self, *error):
        Journal._append = self.original

    @staticmethod
    def append(journal, self, record, *at, **fields):
        if (
            record == "epoch"
            and fields["epoch"] == 2
            and self.moment == "journal"
            and happens_once(self.notes)
        ):
            whole = journal.path.read_bytes()
            journal.claim().write(b'{"record": "epoch", "tri')
            self.act()
            journal.claim().truncate(len(whole))  # of a process that lives on
        self.original(journal, record, *at, **fields)
        self.ended += record == "end"
        if (
            record == "end"
            and self.moment == {1: "between", len(UNITS): "end"}.get(self.ended)
            and happens_once(self.notes)
        ):
            self.act()


def kill_me():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_a_worker(notes):
    """The one that began the last training."""
    newest = max(notes.glob("*.jsonl"), key=lambda file: file.stat().st_mtime)
    os.kill(int(newest.stem), signal.SIGKILL)


def kill_raylet():
    """Ray itself on this machine, as a driver or a worker sees it."""
    for process in [psutil.Process().parent(), *psutil.Process().children(recursive=True)]:
        if process.name() == "raylet":
            process.kill()
    time.sleep(10)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    time.sleep(60)


def tuner_of(directory, notes, moment=None, act=None, executor="ray", **kwargs):
    return gk.GridSearch(
        Faulty(notes, moment, act),
        "val_loss",
        directory=directory,
        project_name="project",
        executor=executor,
        state_interval_s=0,
        **kwargs,
    )


def main(directory, kind, moment, executor):
    notes = pathlib.Path(directory) / "notes"
    notes.mkdir(exist_ok=True)
    in_driver = moment in ("journal", "between", "end")
    act = {
        "raylet": kill_raylet,
        "driver": kill_me if in_driver else functools.partial(kill, os.getpid()),
    }[kind]
    tuner = tuner_of(directory, notes, moment, act, executor)
    with FaultyJournal(notes, moment, act):
        tuner.search(
            *tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=EPOCHS, verbose=0
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
