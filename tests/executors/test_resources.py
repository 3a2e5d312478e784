"""What each trial gets of a cluster, and what is said of it."""

import pytest

from glimr_keras.errors import ResourcesError
from glimr_keras.executors.resources import MOST_PER_GPU, Share, most_per_gpu, share_of

LAPTOP = {"CPU": 4.0}
SERVER = {"CPU": 16.0, "GPU": 2.0}
UNEVEN = {"CPU": 6.0, "GPU": 4.0}
FEW_CPUS = {"CPU": 2.0, "GPU": 8.0}
MAC = {"CPU": 8.0, "GPU": 1.0, "accelerator_type:M1-Pro": 1.0}
TESLA = {"CPU": 8.0, "GPU": 1.0, "accelerator_type:M60": 1.0}


@pytest.mark.parametrize(
    ("machines", "wanted", "per_gpu", "resources", "capacity"),
    [
        ([LAPTOP], None, None, {"cpu": 1, "gpu": 0}, 4),
        ([LAPTOP], None, 4, {"cpu": 1, "gpu": 0}, 4),
        ([LAPTOP], {"cpu": 2}, 4, {"cpu": 2, "gpu": 0}, 2),
        ([SERVER], None, None, {"cpu": 8, "gpu": 1}, 2),
        ([SERVER], None, 1, {"cpu": 8, "gpu": 1}, 2),
        ([SERVER], None, 4, {"cpu": 2, "gpu": 0.25}, 8),
        ([SERVER], None, 3, {"cpu": 2, "gpu": 0.3333}, 6),
        ([SERVER], {"cpu": 1}, 4, {"cpu": 1, "gpu": 0.25}, 8),
        ([SERVER], {"cpu": 2}, None, {"cpu": 2, "gpu": 0}, 8),
        ([SERVER], {"gpu": 2}, None, {"cpu": 16, "gpu": 2}, 1),
        ([SERVER], {"gpu": 0.5}, None, {"cpu": 4, "gpu": 0.5}, 4),
        ([SERVER], {"gpu": 0.6}, None, {"cpu": 8, "gpu": 0.6}, 2),  # a part of one, not of two
        ([SERVER], {"gpu": 0.4}, None, {"cpu": 4, "gpu": 0.4}, 4),
        ([SERVER], {"gpu": 0}, None, {"cpu": 1, "gpu": 0}, 16),
        ([UNEVEN], None, None, {"cpu": 1, "gpu": 1}, 4),
        ([MAC], None, None, {"cpu": 1, "gpu": 0}, 8),  # which TensorFlow does not use
        ([MAC], {"gpu": 1}, None, {"cpu": 8, "gpu": 1}, 1),
        ([TESLA], None, None, {"cpu": 8, "gpu": 1}, 1),
        ([FEW_CPUS], None, None, {"cpu": 0.25, "gpu": 1}, 8),
        # On a cluster, trials are where the GPUs are, and each gets the same
        ([LAPTOP, SERVER, LAPTOP], None, None, {"cpu": 8, "gpu": 1}, 2),
        ([UNEVEN, SERVER], None, None, {"cpu": 1, "gpu": 1}, 6),
        ([{"GPU": 1.0}, SERVER], None, None, {"cpu": 8, "gpu": 1}, 2),
        ([{**LAPTOP, "tpu": 2.0}, SERVER], {"tpu": 1}, None, {"cpu": 1, "gpu": 0, "tpu": 1}, 2),
    ],
)
def test_a_trial_gets_an_even_share(machines, wanted, per_gpu, resources, capacity):
    share = share_of(machines, wanted, per_gpu)
    assert dict(share.resources) == resources
    assert share.capacity == capacity


@pytest.mark.parametrize("count", range(1, MOST_PER_GPU + 1))
def test_a_gpu_has_room_for_as_many_as_were_asked_for(count):
    share = share_of([{"CPU": float(count), "GPU": 1.0}], None, count)
    assert share.capacity == count
    assert share.cpus == 1
    assert count * share.gpus <= 1 < (count + 1) * share.gpus


@pytest.mark.parametrize(
    ("machines", "wanted", "at_once", "most"),
    [
        ([SERVER], None, None, 8),
        ([SERVER], {"cpu": 2}, None, 4),
        ([SERVER], {"cpu": 0.5}, None, 8),
        ([SERVER], {"cpu": 16}, None, 1),
        ([SERVER], None, 6, 3),
        ([SERVER], None, 1, 1),
        ([LAPTOP, UNEVEN, SERVER], None, None, 1),
        ([LAPTOP], None, None, 1),
    ],
)
def test_as_many_share_a_gpu_as_there_are_cpus_for(machines, wanted, at_once, most):
    assert most_per_gpu(machines, wanted, at_once) == most


@pytest.mark.parametrize(
    ("machines", "wanted", "there"),
    [
        ([LAPTOP], {"cpu": 1, "gpu": 1}, "is one machine with CPU: 4, GPU: 0"),
        ([LAPTOP, SERVER], {"gpu": 3}, "are 2 machines with CPU: 4, GPU: 0; CPU: 16, GPU: 2"),
        ([LAPTOP], {"tpu": 1}, "CPU: 4, GPU: 0, tpu: 0"),
    ],
)
def test_what_no_machine_has_is_refused(machines, wanted, there):
    with pytest.raises(ResourcesError, match=f"would wait forever.*{there}"):
        share_of(machines, wanted)


@pytest.mark.parametrize(
    ("resources", "per_gpu", "at_once", "said"),
    [
        ({"cpu": 8, "gpu": 1}, 1, 2, "2 trials at a time, each with 1 GPU and 8 CPUs"),
        ({"cpu": 1, "gpu": 0}, 1, 1, "1 trial at a time, with 1 CPU"),
        ({"cpu": 2, "gpu": 0.3333}, 3, 6, "6 trials at a time, each with 1/3 of a GPU and 2 CPUs"),
        ({"cpu": 0.5, "gpu": 2}, 1, 1, "1 trial at a time, with 2 GPUs and 0.5 CPU"),
        (
            {"cpu": 1, "gpu": 0, "memory": 4 * 2**30},
            1,
            3,
            "3 trials at a time, each with 1 CPU and 4 GiB of memory",
        ),
        (
            {"cpu": 1, "gpu": 0, "tpu": 2},
            1,
            3,
            "3 trials at a time, each with 1 CPU and 2 tpu",
        ),
    ],
)
def test_what_a_trial_gets_is_said(resources, per_gpu, at_once, said):
    assert Share(resources, 9, per_gpu).described(at_once) == said
