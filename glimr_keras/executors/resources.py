"""The CPUs and GPUs of each trial, and the number of trials that fit in a cluster. Pure Python;
runs in the driver.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

from glimr_keras.errors import ResourcesError

Machine = Mapping[str, float]
"""The resources of a machine, by Ray's names: `CPU`, `GPU`, and custom resources."""

MOST_PER_GPU = 100
_MAC = re.compile(r"accelerator_type:M\d(-\w+)?")
_NAMES = {"cpu": "CPU", "gpu": "GPU"}
_UNITS = 10_000
"""Ray counts each resource in this many parts."""


@dataclasses.dataclass(frozen=True)
class Share:
    """The resources of each trial.

    Attributes:
        resources: Amounts by name, including `cpu` and `gpu`.
        capacity: The number of trials that the cluster can run at once.
        per_gpu: The number of trials that fit on one GPU.
    """

    resources: Mapping[str, float]
    capacity: int
    per_gpu: int = 1

    @property
    def cpus(self) -> float:
        return self.resources["cpu"]

    @property
    def gpus(self) -> float:
        return self.resources["gpu"]

    def described(self, at_once: int) -> str:
        """Return a description, such as "2 trials at a time, each with 1 GPU and 8 CPUs".

        Args:
            at_once: The number of trials that run at once.
        """
        parts = [
            f"1/{self.per_gpu} of a GPU" if self.per_gpu > 1 else _counted(self.gpus, "GPU"),
            _counted(self.cpus, "CPU"),
            *(
                f"{amount / 2**30:.3g} GiB of {name}" if "memory" in name else f"{amount:g} {name}"
                for name, amount in self.resources.items()
                if name not in _NAMES and amount > 0
            ),
        ]
        *others, last = filter(None, parts)
        each = f"{', '.join(others)} and {last}" if others else last
        if at_once == 1:
            return f"1 trial at a time, with {each}"
        return f"{at_once} trials at a time, each with {each}"


def share_of(
    machines: Sequence[Machine],
    wanted: Mapping[str, float] | None = None,
    trials_per_gpu: int | None = None,
) -> Share:
    """Return the resources of each trial.

    With GPUs and no other request, each trial gets one GPU or a fraction of one. It gets as many
    CPUs as each trial can have on the machine with the fewest. Without GPUs it gets one CPU.

    Args:
        machines: The machines of the cluster.
        wanted: The requested resources of a trial, by name. Without `gpu` a trial gets none;
            without `cpu` it gets as many as there are for each GPU. Defaults to `None`, which means
            automatic.
        trials_per_gpu: The number of trials that share a GPU, if there is one; not together with
            `gpu` in `wanted`. Defaults to `None`, which means one.

    Raises:
        ResourcesError: If no machine has room for a trial; Ray would wait forever.
    """
    per_gpu = 1
    if wanted is None or trials_per_gpu is not None:
        per_gpu = trials_per_gpu or 1
        if any(map(has_gpu, machines)):
            wanted = {**(wanted or {}), "gpu": _part(per_gpu)}
        else:
            per_gpu = 1
    given = {"gpu": 0.0, **(wanted or {})}
    resources = {"cpu": given.get("cpu", _cpus_for(given["gpu"], machines)), **given}
    capacity = sum(_room(machine, resources) for machine in machines)
    if capacity == 0:
        raise _no_room(machines, resources)
    return Share(resources, capacity, per_gpu)


def most_per_gpu(
    machines: Sequence[Machine],
    wanted: Mapping[str, float] | None = None,
    at_once: int | None = None,
) -> int:
    """Return how many trials may share a GPU, limited by the CPUs for each and by the number of
    concurrent trials.

    Args:
        machines: The machines of the cluster.
        wanted: As for `share_of`; each trial has at least one CPU. Defaults to `None`.
        at_once: An upper bound on the number of concurrent trials. Defaults to `None`, which means
            no bound.
    """
    with_gpus = [machine for machine in machines if has_gpu(machine)]
    per_trial = max((wanted or {}).get("cpu", 1.0), 1.0)
    by_cpus = min(
        (math.floor(each.get("CPU", 0) / each["GPU"] / per_trial) for each in with_gpus), default=1
    )
    gpus = sum(each["GPU"] for each in with_gpus)
    by_trials = MOST_PER_GPU if at_once is None else math.ceil(at_once / max(gpus, 1))
    return max(min(by_cpus, by_trials, MOST_PER_GPU), 1)


def has_gpu(machine: Machine) -> bool:
    """Return whether a machine has a GPU that Keras uses by default. Ray also counts the GPU of
    each Mac, which the standard TensorFlow and JAX do not use.
    """
    is_mac = any(map(_MAC.fullmatch, machine))
    return machine.get("GPU", 0) >= 1 and not is_mac


def _part(trials: int) -> float:
    """Return the fraction of a GPU for each of this many trials, in Ray's units."""
    return math.floor(_UNITS / trials) / _UNITS


def _cpus_for(gpus: float, machines: Sequence[Machine]) -> float:
    """Return the number of CPUs for each trial with this many GPUs."""
    if gpus == 0:
        return 1.0
    shares = [
        machine.get("CPU", 0) / room
        for machine in machines
        if (room := _room(machine, {"gpu": gpus})) > 0
    ]
    share = min((each for each in shares if each > 0), default=1.0)
    return math.floor(share) if share >= 1 else math.floor(share * _UNITS) / _UNITS


def _room(machine: Machine, resources: Mapping[str, float]) -> int:
    """Return how many trials fit on a machine."""
    return min(
        _room_for(name, machine.get(_NAMES.get(name, name), 0), amount)
        for name, amount in resources.items()
        if amount > 0
    )


def _room_for(name: str, there: float, amount: float) -> int:
    """Return how many trials a resource suffices for; a fraction of a GPU must be on one GPU."""
    if name == "gpu" and amount < 1:
        return int(there) * int(1 / amount + 1 / _UNITS)
    return int(there / amount + 1 / _UNITS)


def _no_room(machines: Sequence[Machine], resources: Mapping[str, float]) -> ResourcesError:
    wanted = [_NAMES.get(name, name) for name, amount in resources.items() if amount > 0]
    names = sorted({"CPU", "GPU", *wanted})
    there = "; ".join(
        ", ".join(f"{name}: {machine.get(name, 0):g}" for name in names) for machine in machines
    )
    count = "is one machine" if len(machines) == 1 else f"are {len(machines)} machines"
    return ResourcesError(
        "A trial asks for more than any machine has, and would wait forever. Received: "
        f"resources_per_trial={dict(resources)}. There {count} with {there}."
    )


def _counted(amount: float, name: str) -> str:
    """Return an amount with its name; empty if it is zero."""
    return "" if amount == 0 else f"{amount:g} {name}{'' if amount <= 1 else 's'}"
