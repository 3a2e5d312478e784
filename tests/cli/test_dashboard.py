"""`glimr-keras dashboard`: Optuna's dashboard, asked as a browser asks it."""

import json
import os
import re
import signal
import socket
import sys
import time
import urllib.request

import pytest

from glimr_keras.cli.main import main
from glimr_keras.project.journal import Journal
from tests.cli.conftest import contents_of
from tests.cli.processes import start
from tests.results import made

pytest.importorskip("optuna_dashboard")


@pytest.fixture
def dashboard(digits):
    """A dashboard's process and its address."""
    process = start("dashboard", digits, "--port", "0", "--interval", "0.2")
    said = process.stdout.readline()
    address = re.fullmatch(r"digits is at (http://127\.0\.0\.1:\d+)/dashboard\. .*\n", said)
    assert address, said + process.stderr.read()
    yield process, address[1]
    process.kill()
    process.communicate()


def asked(address, path):
    with urllib.request.urlopen(f"{address}{path}", timeout=30) as answer:
        return answer.read().decode()


def trials_of(address):
    return json.loads(asked(address, "/api/studies/0?after=0"))["trials"]


def test_it_follows_a_search_and_ends_with_ctrl_c(dashboard, digits):
    process, address = dashboard
    before = contents_of(digits)
    assert "<title>Optuna Dashboard</title>" in asked(address, "/dashboard")
    assert [trial["state"] for trial in trials_of(address)] == [
        *("Complete", "Complete", "Pruned", "Fail", "Running")
    ]
    assert contents_of(digits) == before
    journal, trial = Journal(digits), made.trial(4, [[0.8, 0.125]])
    journal.end_execution("04", 0, trial.executions[0])
    journal.end_trial(trial)
    journal.close()
    for _ in range(100):
        last = trials_of(address)[-1]
        if last["state"] == "Complete":
            break
        time.sleep(0.1)
    assert last["values"] == [0.125]
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_told(digits, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["dashboard", str(digits), "--port", port]) == 1
    assert f"cannot be at 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


def test_it_is_said_how_the_dashboard_is_installed(digits, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert main(["dashboard", str(digits)]) == 1
    assert "pip install 'glimr_keras[dashboard]'" in capsys.readouterr().err
