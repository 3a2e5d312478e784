"""Versions of libraries that only some users have."""

import pytest

from glimr_keras._utils.versions import check_version


@pytest.mark.parametrize("received", ["0.19.10", "0.19.11", "1.0", "0.20rc1", "0.19.10.1"])
def test_a_version_that_is_new_enough_is_taken(received):
    check_version("wandb", received, "0.19.10")


@pytest.mark.parametrize("received", ["0.19.9", "0.19", "0.18.20.dev1", "unknown"])
def test_an_older_one_is_refused(received):
    said = rf"wandb must be of version 0\.19\.10 or later\. Received: {received}\. Update it by"
    with pytest.raises(ImportError, match=said):
        check_version("wandb", received, "0.19.10")
