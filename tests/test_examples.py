"""The examples run as they stand."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from tests.script_environment import ROOT, script_environment


def run_example(name, arguments=(), directory=None, **settings):
    """Runs an example as a user does, and returns what it prints."""
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(
        command,
        env=script_environment(**settings),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=directory,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_quickstart_finds_a_good_model():
    printed = run_example("quickstart.py")
    accuracy = re.fullmatch(r"test accuracy: (0\.\d{4})", printed.splitlines()[-1])
    assert accuracy
    assert float(accuracy[1]) >= 0.97
    assert "20/20 trials" in printed


@pytest.mark.slow
def test_the_callback_resumes_in_a_function_of_the_user():
    assert re.search(r"accuracy 0\.\d+ after 6 epochs", run_example("ray_callback.py"))


@pytest.mark.slow
def test_a_search_is_in_each_tracker_that_is_installed(tmp_path):
    for trials in (4, 8):  # the second time it goes on
        printed = run_example("trackers.py", [str(tmp_path / "tracked")], tmp_path)
        assert f"{trials}/{trials} trials" in printed
        assert len(list(tmp_path.glob("tracked/digits/trial_*/progress.csv"))) == trials
        for name, said in {
            "mlflow": f"{trials - 1} FINISHED",
            "wandb": f"In W&B: {trials + trials // 4} runs",
            "tensorboard": f"In TensorBoard: {trials} runs",
        }.items():
            assert importlib.util.find_spec(name) is None or said in printed


@pytest.mark.slow
def test_the_survival_example_is_as_good_as_the_cox_model(tmp_path):
    printed = run_example(
        "survival.py", ["--quick", "--cohort", "gbsg2"], tmp_path
    )  # which ends with an error if it is not
    concordances = re.findall(r"(0\.\d{4}) ± 0\.\d{4}", printed)
    assert len(concordances) == 4
    assert all(float(concordance) > 0.65 for concordance in concordances)


@pytest.mark.slow
def test_bags_of_tiles_tell_grade_and_survival(tmp_path):
    printed = run_example("mil.py", ["--quick"], tmp_path)
    assert "2/2 trials" in printed
    for name, at_least in {
        r"^accuracy of the grade (0\.\d{4}|1\.0000)$": 0.8,
        r"^concordance of the survival (0\.\d{4})$": 0.6,
        r"^the highest weight is that of a tile of the tumour in (\d+)%": 70,
    }.items():
        found = re.search(name, printed, re.MULTILINE)
        assert found
        assert float(found[1]) >= at_least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parts", "figure"),
    [
        ("speed.py", "a,d", "trials/min"),
        ("search.py", "quality,proposals,epochs,hyperband,grid", "distinct among them"),
    ],
)
def test_a_benchmark_runs_and_prints_its_table(name, parts, figure, tmp_path):
    arguments = ["--quick", "--only", parts, "--json", str(tmp_path / "table.json")]
    printed = run_example(f"benchmarks/{name}", arguments, directory=tmp_path)
    assert "glimr_keras against its references" in printed
    assert figure in printed
    assert "FAILED" not in printed
    assert json.loads((tmp_path / "table.json").read_text())


@pytest.mark.slow
def test_the_benchmark_of_many_trials_runs(tmp_path):
    arguments = ["--quick", "--json", str(tmp_path / "figures.json")]
    printed = run_example("benchmarks/scale.py", arguments, directory=tmp_path)
    assert "A search with many trials and workers" in printed
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    figures = {row["figure"] for row in rows}
    for name in ("random", "grid", "bayesian", "hyperband"):
        assert {f"{name}: CPU of a trial", f"{name}: memory of a trial"} <= figures
    assert {"results_dataframe()", "experiment_table, 20 epochs each"} <= figures
    assert all(
        row["value"] > 0
        for row in rows
        if not row["figure"].startswith(("ray:", "workers:"))  # some of which may be none
    )
    found = {row["figure"]: row["value"] for row in rows}
    assert 2 <= found["workers: that had a trial"] <= found["workers: asked for"] == 4
    assert found["ray: trials"] > 0


@pytest.mark.slow
def test_the_benchmark_of_gpus_runs_without_one(tmp_path):
    arguments = ["--quick", "--executor", "inline", "--json", str(tmp_path / "figures.json")]
    printed = run_example("benchmarks/gpu.py", arguments, directory=tmp_path)
    assert "of the bare loop" in printed
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert not [name for name, seen in figures.items() if "error" in seen]
    assert figures["lacks memory"]["small"] == ["COMPLETED"]
    assert figures["killed"]["trials"] == 3


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_is_whole(tmp_path):
    run_example(
        "benchmarks/soak.py", ["--quick", "--json", str(tmp_path / "figures.json")]
    )  # which fails if it is not
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["completed"], figures["scripts killed"], figures["processes left behind"]) == (
        60,
        1,
        0,
    )
    assert figures["workers killed"] >= 2
