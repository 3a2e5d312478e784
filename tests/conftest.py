"""What all tests share: one Ray, an empty project directory each, and who runs which test.

With two pytest workers, those tests that need the shared Ray are one worker's, so that there is one
Ray; the others go to whichever worker is free. Long ones begin first.
"""

import os

# Ray's workers are nice, and would wait for whatever else the tests train; so are those of scripts
os.environ.setdefault("RAY_worker_niceness", "0")
# Threads of BLAS spin while they wait for each other, and the matrices of tests are small
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# So do TensorFlow's, of which inline trials would have as many as there are CPUs
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import glimr_keras  # isort: skip  # noqa: F401  (before Ray, whose start it keeps quiet)

import gc
import tempfile

import pytest

from tests import warm_workers


@pytest.fixture(scope="session")
def local_ray():
    """One Ray with two CPUs for the whole run, shut down at its end."""
    with warm_workers.local_ray(num_cpus=2):
        yield


@pytest.fixture
def ray_files():
    """Where a script's Ray has its files (`RAY_TMPDIR`): its processes are known by that, and no
    other script joins it. The path must be short.
    """
    with tempfile.TemporaryDirectory(prefix="ray-") as directory:
        yield directory


@pytest.fixture
def project(tmp_path):
    """Arguments that give a tuner a project directory of its own."""
    return {"directory": tmp_path, "project_name": "project"}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Puts the tests that share something into groups, each of which is one pytest worker's."""
    for item in items:
        if "local_ray" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("ray"))
    items.sort(key=lambda item: not any(item.iter_markers("xdist_group")))


def pytest_collection_finish():
    """Takes what the imports made out of garbage collection, which trials inside this process do
    several times each.
    """
    gc.collect()
    gc.freeze()


def pytest_addoption(parser):
    parser.addoption("--seeds", help="those of changed projects, FIRST:END; some by default")


@pytest.fixture
def seeds(request):
    """Those that were asked for."""
    asked = request.config.getoption("--seeds")
    return asked and range(*map(int, asked.split(":")))
