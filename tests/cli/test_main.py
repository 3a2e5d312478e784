"""Messages and exit codes of all commands."""

import io
import os
import signal
import subprocess
import sys
import time

import pytest

from glimr_keras.cli.main import COMMANDS, main
from glimr_keras.exports.tools import TOOLS
from glimr_keras.version import __version__
from tests.cli.conftest import contents_of
from tests.cli.processes import start
from tests.script_environment import script_environment

NAMES = [command.__name__.rpartition(".")[2] for command in COMMANDS]
REQUESTS = {
    "show": (),
    "watch": ("--once",),
    "plot": ("edf",),
    "report": (),
    "export": ("--to", "csv", "-o", "out"),
    "dashboard": ("--port", "0"),
}


def test_every_command_is_tested():
    assert [*REQUESTS] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_without_a_project_is_told(name, tmp_path, capsys):
    assert main([name, str(tmp_path / "nothing"), *REQUESTS[name]]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"glimr-keras: There is no directory {tmp_path}/nothing.\n"


@pytest.mark.parametrize("name", NAMES)
def test_help_names_the_arguments(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: glimr-keras {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["shwo", "x"], "invalid choice: 'shwo'"),
        (["show"], "the following arguments are required: DIR"),
        (["show", "x", "-n", "0"], "must be an integer of at least 1. Received: '0'"),
        (["watch", "x", "--interval", "-1"], "must be a number above 0. Received: '-1'"),
        (["dashboard", "x", "--port", "70000"], "must be from 0 to 65535. Received: '70000'"),
        (["plot", "x", "ed"], "there is no figure 'ed'. Did you mean 'edf'?"),
        (["export", "x", "--to", "excel"], "invalid choice: 'excel'"),
        (["export", "x", "--to", "json"], "--to json needs -o WHERE: a file"),
        (
            ["export", "x", "--to", "json", "-o", "y", "--epochs"],
            "--epochs is for --to csv and parquet. Received: --to json",
        ),
        (
            ["export", "x", "--to", "mlflow", "--online"],
            "--online is for --to wandb. Received: --to mlflow",
        ),
    ],
)
def test_a_wrong_usage_has_a_code_of_its_own(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert said in capsys.readouterr().err


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"glimr_keras {__version__}\n"


READING = [
    *((name, REQUESTS[name]) for name in NAMES if name not in ("export", "dashboard")),
    *(("export", ("--to", to, "-o", f"out_{to}.db")) for to in TOOLS),
]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "request_"), READING, ids=[f"{n}{r}" for n, r in READING])
def test_a_project_is_only_read(name, request_, digits, tmp_path, monkeypatch):
    """The dashboard is asked in a process of its own."""
    for library in ("mlflow", "wandb", "optuna", "tensorboard"):
        if library in request_:
            pytest.importorskip(library)
    if name in ("plot", "report"):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    before = contents_of(digits)
    assert main([name, str(digits), *request_]) == 0
    assert contents_of(digits) == before


@pytest.mark.parametrize("command", [("plot", "edf"), ("report",)])
def test_no_figure_is_written_into_a_project(command, digits, capsys, monkeypatch):
    name, *request_ = command
    before = contents_of(digits)
    assert main([name, str(digits), *request_, "-o", str(digits / "new" / "file.png")]) == 1
    assert "Nothing is written into a project, which is only read." in capsys.readouterr().err
    assert contents_of(digits) == before


def test_the_command_needs_neither_keras_nor_ray(digits):
    code = (
        "import sys\nfrom glimr_keras.cli.main import main\n"
        f"assert main(['show', {str(digits)!r}]) == 0\n"
        "print([name for name in ('keras', 'tensorflow', 'ray', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=script_environment(),
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_an_encoding_lacks_is_a_question_mark(encoding, digits, monkeypatch):
    place = digits.rename(digits.with_name("Ω"))
    out, err = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding, "backslashreplace"))
    assert main(["show", str(place)]) == 0
    assert main(["watch", str(place), "--once"]) == 0
    assert main(["show", str(place / "Ω")]) == 1
    assert out.getvalue().startswith(b"? in ")
    sys.stderr.flush()
    assert b"\\u03a9" in err.getvalue()


def test_a_pipe_that_is_closed_is_no_error(digits):
    process = start("show", digits)
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_ctrl_c_ends_quietly(digits):
    process = start("watch", digits, "--interval", "60")
    assert "5 trials" in process.stdout.readline()
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
