"""What importing the package imports, and what that prints."""

import ast
import pathlib
import subprocess
import sys

import pytest

import glimr_keras
from tests.script_environment import script_environment

RAY = "[name for name in ('ray', 'ray.tune') if name in sys.modules]"
ORACLE = "gk.oracles.RandomSearchOracle('val_loss')"
TUNERS = {
    "RandomSearch": "build, 'val_loss'",
    "GridSearch": "build, 'val_loss'",
    "BayesianOptimization": "build, 'val_loss', trials_per_gpu='auto'",
    "Hyperband": "build, 'val_loss'",
    "RayTuner": "build, 'val_loss', callbacks=[keras.callbacks.Callback()]",
    "Tuner": f"{ORACLE}, build",
    "SklearnTuner": "gk.oracles.RandomSearchOracle(gk.Objective('score', 'max')), build",
}
"""What each public tuner is made with, beside its directory."""
SEARCH = (
    "import random, sys\n"
    "import glimr_keras as gk\n"
    "from tests.tiny_models import TRAIN, VALIDATION, build\n"
    "def search(executor, **given):\n"
    "    tuner = gk.RandomSearch(\n"
    "        build, 'val_loss', max_trials=1, seed=1, executor=executor, project_name=executor,\n"
    "        directory=sys.argv[1], **given\n"
    "    )\n"
    "    tuner.search(*TRAIN, validation_data=VALIDATION, epochs=1, verbose=0)\n"
    "    return tuner\n"
)
HEAVY = "[name for name in ('keras', 'tensorflow', 'ray', 'pandas') if name in sys.modules]"


def run(code, *arguments):
    """What a script prints, and what is written beside that."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env=script_environment(),
    )
    return done.stdout.strip(), done.stderr


def test_keras_is_imported_when_the_first_public_name_is_asked_for_and_quietly():
    printed, said = run(
        "import sys, glimr_keras\n"
        f"print({HEAVY}, 'RayTuner' in dir(glimr_keras), glimr_keras.__version__ > '')\n"
        "print(glimr_keras.RayTuner.__module__, 'keras' in sys.modules)\n"
        "print(glimr_keras.models.hypermodel.HyperModel is glimr_keras.HyperModel)"
    )
    assert printed.splitlines() == [
        "[] True True",
        "glimr_keras.tuners.ray_tuner True",
        "True",
    ]
    assert said == ""


@pytest.mark.parametrize("kind", TUNERS)
def test_a_tuner_is_made_without_ray(kind, tmp_path):
    printed, _ = run(
        "import sys\n"
        "import glimr_keras as gk\n"
        f"gk.RayTuner; print({RAY})\n"
        "hp = gk.HyperParameters()\n"
        "hp.Int('units', 2, 16); hp.Choice('kind', ['a', 'b'])\n"
        "gk.sample_space({'units': 4, 'nested': [{'rate': 0.1}]})\n"
        f"print({RAY})\n"
        "import keras\n"
        "def build(config): return keras.Sequential()\n"
        f"gk.{kind}({TUNERS[kind]}, directory=sys.argv[1])\n"
        f"print({RAY})",
        tmp_path,
    )
    assert printed.splitlines() == ["[]", "[]", "[]"]


def test_an_inline_search_imports_no_ray_tune_and_its_project_is_read_without_ray(tmp_path):
    printed, _ = run(f"{SEARCH}search('inline').get_best_models()\nprint({RAY})", tmp_path)
    assert printed == "['ray']"  # which has the one cloudpickle
    printed, _ = run(
        "import sys\n"
        "import glimr_keras as gk\n"
        "results = gk.RayTuner.open(sys.argv[1])\n"
        f"print(len(results.results_dataframe()), {RAY})",
        tmp_path / "inline",
    )
    assert printed == "1 []"


def test_a_space_of_ray_domains_is_searched_wherever_they_were_imported(tmp_path):
    printed, _ = run(
        "from ray.tune.search.sample import Categorical\n"
        f"{SEARCH}"
        "space = {'width': Categorical([3, 5]), 'of': {'rate': gk.optimization_space()}}\n"
        "print(sorted(search('inline', space=space).get_best_hyperparameters()[0].values))",
        tmp_path,
    )
    assert "'of/rate/learning_rate', 'of/rate/method'" in printed and "'width'" in printed


def test_what_a_search_on_ray_imports_draws_from_no_generator_of_the_scripts(tmp_path):
    printed, _ = run(
        f"{SEARCH}"
        "import numpy as np\n"
        "random.seed(1); np.random.seed(1)\n"
        f"print({RAY})\n"
        "from glimr_keras.executors import RayExecutor\n"
        "import ray.tune\n"
        "print(random.random(), np.random.random())\n"
        "random.seed(1); np.random.seed(1)\n"
        "print(random.random(), np.random.random())",
        tmp_path,
    )
    without, after, fresh = printed.splitlines()
    assert (without, after) == ("[]", fresh)


def test_a_script_that_imports_keras_itself_afterwards_is_quiet_too():
    printed, said = run("import glimr_keras, keras, tensorflow, ray.tune; print(keras.__name__)")
    assert (printed, said) == ("keras", "")


def test_threads_that_import_at_once_leave_standard_error_as_it_was():
    printed, said = run(
        "import sys, threading, glimr_keras\n"
        "from glimr_keras import startup\n"
        "begun, over = threading.Event(), threading.Event()\n"
        "def first():\n"
        "    with startup._quiet:\n"
        "        begun.set()\n"
        "        over.wait()\n"
        "thread = threading.Thread(target=first)\n"
        "thread.start()\n"
        "begun.wait()\n"
        "with startup._quiet:\n"
        "    over.set()\n"
        "    thread.join()\n"
        "    sys.stderr.write('I0000 00:00: nothing\\n')\n"
        "sys.stderr.write('heard\\n')"
    )
    assert (printed, said) == ("", "heard\n")


def test_other_import_hooks_are_asked_too():
    printed, _ = run(
        "import importlib.abc, sys\n"
        "class Hook(importlib.abc.MetaPathFinder):\n"
        "    asked = []\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        self.asked.append(name)\n"
        "sys.meta_path.insert(0, Hook())\n"
        "import glimr_keras, keras\n"
        "print('keras' in Hook.asked)"
    )
    assert printed == "True"


def test_what_keeps_keras_from_being_imported_is_said(tmp_path):
    (tmp_path / "keras.py").write_text("import sys; sys.nothing_of_that_name")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from glimr_keras import RayTuner")
    assert "nothing_of_that_name" in caught.value.stderr
    assert "glimr_keras cannot be imported" in caught.value.stderr


def test_all_of_it_can_be_imported_at_once_and_below_a_private_path_of_kerastuners():
    printed, _ = run(
        "from glimr_keras import *\n"
        "import glimr_keras.src.engine.tuner\n"
        "print(glimr_keras.src.engine.tuner.Tuner is Tuner, errors.FailedTrialError)"
    )
    assert printed == "True <class 'glimr_keras.errors.FailedTrialError'>"


def test_what_type_checkers_see_is_what_is_imported():
    tree = ast.parse(pathlib.Path(glimr_keras.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: f"glimr_keras.{alias.name}" if node.module == "glimr_keras" else node.module
        for node in block.body
        for alias in node.names
    }
    assert seen == glimr_keras._PLACES
    assert {*seen, "__version__"} == set(glimr_keras.__all__)


def test_there_is_no_other_name():
    with pytest.raises(AttributeError, match="module 'glimr_keras' has no attribute 'nothing'"):
        glimr_keras.nothing  # noqa: B018
