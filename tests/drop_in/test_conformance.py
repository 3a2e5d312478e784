"""Scripts that were written for KerasTuner find the same with glimr_keras in its place; only the
import is another.

The scripts, `tests/drop_in/scripts`, return what they find: spaces, statuses, numbers of trials,
files, errors, headings. What depends on luck, or is meant to differ, such as the order in which
trials end, is not in there. KerasTuner itself is asked each time, so nothing that it does is
written down here.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("conformance")]

HERE = pathlib.Path(__file__).parent
SCRIPTS = sorted(path.stem for path in (HERE / "scripts").glob("*.py"))
SECONDS = 300  # that one script may take
LIBRARIES = {
    "keras_tuner": ("keras_tuner", {}, []),
    "inline": ("glimr_keras", {"executor": "inline"}, []),
    "ray": ("glimr_keras", {"max_concurrent_trials": 2}, ["--cpus", "2"]),
}
# These train nothing
INLINE_ONLY = {
    "applications_space",
    "deep_imports",
    "fatal_errors",
    "grid_search",
    "hyperparameter_objects",
    "hyperparameters_alone",
    "metrics_tracker",
    "names_and_messages",
    "objective_directions",
    "oracle_alone",
    "oracles_after_the_library",
    "positional_arguments",
}


class Runs:
    """What scripts find with each library: those that are to be run are run together, in one
    process for each library, which run side by side.
    """

    def __init__(self, wanted, directory):
        self.wanted = wanted
        self.directory = directory
        libraries = [library for library, scripts in wanted.items() if scripts]
        pool = concurrent.futures.ThreadPoolExecutor(max(len(libraries), 1))
        self.results = {library: pool.submit(self.run, library) for library in libraries}

    def findings_of(self, library, script):
        """What the script returned.

        Raises:
            AssertionError: If it raised an error, with its traceback, or if its process ended.
        """
        result = self.results[library].result()[script]
        assert "findings" in result, f"{script} on {library}: {result['error']}"
        return result["findings"]

    def run(self, library):
        """Runs the scripts that are wanted; where one takes the process with it, the others go on
        in a new one.
        """
        results, left = {}, sorted(self.wanted[library])
        while left:
            done, said = self.process(library, left, self.directory / f"{library}-{len(left)}")
            results |= done
            left = [script for script in left if script not in done]
            if left:
                results[left[0]] = {
                    "error": (
                        f"the process ended, or did not end within {SECONDS} s:\n{said[-4000:]}"
                    )
                }
                del left[0]
        return results

    def process(self, library, scripts, directory):
        """Runs scripts in one process; returns the results of those that ended, and what was
        printed.
        """
        name, options, more = LIBRARIES[library]
        paths = [str(HERE / "scripts" / f"{script}.py") for script in scripts]
        command = [sys.executable, str(HERE / "runner.py"), name, str(directory), *paths]
        command += ["--options", json.dumps(options), "--seconds", str(SECONDS), *more]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(
                [str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
            )
        }
        with (directory.parent / f"{directory.name}.txt").open("w+") as printed:
            process = subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=printed,
                text=True,
                check=False,
            )
            printed.seek(0)
            said = printed.read()
        results = [json.loads(line) for line in process.stdout.splitlines()]
        return {result["script"]: result for result in results}, said


def differences(expected, found, path="findings"):
    """Where two findings differ, a line for each; numbers may differ by rounding."""
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [
            f"{path}[{key!r}] is missing; expected {expected[key]!r}"
            for key in expected
            if key not in found
        ]
        surplus = [
            f"{path}[{key!r}] is not expected: {found[key]!r}"
            for key in found
            if key not in expected
        ]
        common = [
            (expected[key], found[key], f"{path}[{key!r}]") for key in expected if key in found
        ]
        return [*missing, *surplus, *(line for each in common for line in differences(*each))]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        common = [
            (*pair, f"{path}[{number}]")
            for number, pair in enumerate(zip(expected, found, strict=True))
        ]
        return [line for each in common for line in differences(*each)]
    is_same = expected == found
    if not is_same and isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        is_same = found == pytest.approx(expected, rel=1e-6, nan_ok=True)
    return [] if is_same else [f"{path}: expected {expected!r}, found {found!r}"]


@pytest.fixture(scope="session")
def runs(request, tmp_path_factory):
    """Runs what the selected tests need, when the first of them asks for it."""
    wanted = {library: set() for library in LIBRARIES}
    for item in request.session.items:
        if item.path == pathlib.Path(__file__) and hasattr(item, "callspec"):
            wanted["keras_tuner"].add(item.callspec.params["script"])
            wanted[item.callspec.params["executor"]].add(item.callspec.params["script"])
    return Runs(wanted, tmp_path_factory.mktemp("conformance"))


@pytest.mark.parametrize(
    ("executor", "script"),
    [("inline" if script in INLINE_ONLY else "ray", script) for script in SCRIPTS],
)
def test_a_script_finds_what_it_finds_with_keras_tuner(runs, executor, script):
    found = differences(runs.findings_of("keras_tuner", script), runs.findings_of(executor, script))
    assert not found, "\n".join(found)


def test_a_script_that_ends_the_process_does_not_take_the_others_with_it(tmp_path, monkeypatch):
    (tmp_path / "scripts").mkdir()
    for name, body in {
        "a": "return {'a': 1}",
        "b": "os._exit(3)",
        "c": "return {'c': 3}",
        "d": "raise ValueError('bad')",
    }.items():
        (tmp_path / "scripts" / f"{name}.py").write_text(
            f"import os\ndef main(directory, **options):\n    {body}\n"
        )
    (tmp_path / "runner.py").write_text((HERE / "runner.py").read_text())
    monkeypatch.setattr(sys.modules[__name__], "HERE", tmp_path)
    runs = Runs({"keras_tuner": {"a", "b", "c", "d"}}, tmp_path)
    assert [runs.findings_of("keras_tuner", script) for script in ("a", "c")] == [
        {"a": 1},
        {"c": 3},
    ]
    for script, said in {"b": "the process ended", "d": "ValueError: bad"}.items():
        with pytest.raises(AssertionError, match=said):
            runs.findings_of("keras_tuner", script)


def test_what_is_inline_only_is_there():
    assert set(SCRIPTS) >= INLINE_ONLY


def test_differences_are_found():
    assert differences({"a": [1, 2.0]}, {"a": [1, 2.0 + 1e-9]}) == []
    assert differences({"a": [1, "x"], "b": 1}, {"a": [2, "y"], "c": 1}) == [
        "findings['b'] is missing; expected 1",
        "findings['c'] is not expected: 1",
        "findings['a'][0]: expected 1, found 2",
        "findings['a'][1]: expected 'x', found 'y'",
    ]
    assert differences([1], [1, 2]) == ["findings: expected [1], found [1, 2]"]
    assert differences({"a": None}, {"a": False}) == ["findings['a']: expected None, found False"]
