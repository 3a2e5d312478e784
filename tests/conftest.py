"""What all tests share: one Ray, and an empty project directory each."""

import glimr_keras  # isort: skip  # noqa: F401  (before Ray, whose start it keeps quiet)

import gc
import logging

import pytest
import ray


@pytest.fixture(scope="session")
def local_ray():
    """One Ray with two CPUs for the whole run, shut down at its end."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture
def project(tmp_path):
    """Arguments that give a tuner a project directory of its own."""
    return {"directory": tmp_path, "project_name": "project"}


def pytest_collection_finish():
    """Takes what the imports made out of garbage collection, which trials inside this process do
    several times each.
    """
    gc.collect()
    gc.freeze()
