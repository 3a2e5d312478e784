"""What each trial gets of a cluster's CPUs and GPUs, and how many trials fit. Pure Python; runs in
the driver.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

from glimr_keras.errors import ResourcesError

Machine = Mapping[str, float]
"""What a machine has, by Ray's names: `CPU`, `GPU`, and custom resources."""

MOST_PER_GPU = 100
_MAC = re.compile(r"accelerator_type:M\d(-\w+)?")
_NAMES = {"cpu": "CPU", "gpu": "GPU"}
_UNITS = 10_000
"""In so many parts does Ray count each resource."""


@dataclasses.dataclass(frozen=True)
class Share:
    """What each trial gets.

    Attributes:
        resources: By name, `cpu` and `gpu` among them.
        capacity: For how many trials at once the cluster has room.
        per_gpu: How many trials a GPU has room for.
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
        """Return what is said of it, such as "2 trials at a time, each with 1 GPU and 8 CPUs".

        Args:
            at_once: How many trials run at once.
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
    """Return what each trial gets.

    Where there are GPUs and nothing else is wanted, that is one for each trial, or a part of one,
    and as many CPUs as there are for each on the machine that has the fewest. Without GPUs it is
    one CPU.

    Args:
        machines: Those of the cluster.
        wanted: What a trial is to get, by name; without `gpu` it is none, and without `cpu` as many
            as there are for each GPU. `None` leaves the choice.
        trials_per_gpu: How many trials share a GPU, where there is one; not with `gpu` in `wanted`.

    Raises:
        ResourcesError: If no machine has room for a trial, for which Ray would wait without an end.
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
    """Return how many trials may share a GPU, by the CPUs that there are for each, and by how many
    run at once.

    Args:
        wanted: As for `share_of`; each trial has one CPU at least.
        at_once: A bound on the trials that run at once.
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
    """Whether a machine has a GPU on which Keras trains where nothing is said. Ray counts that of
    each Mac too, which the usual TensorFlow and JAX do not use.
    """
    is_mac = any(map(_MAC.fullmatch, machine))
    return machine.get("GPU", 0) >= 1 and not is_mac


def _part(trials: int) -> float:
    """The part of a GPU of which there are so many, as Ray counts it."""
    return math.floor(_UNITS / trials) / _UNITS


def _cpus_for(gpus: float, machines: Sequence[Machine]) -> float:
    """How many CPUs there are for each trial with so many GPUs."""
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
    """How many trials a machine has room for."""
    return min(
        _room_for(name, machine.get(_NAMES.get(name, name), 0), amount)
        for name, amount in resources.items()
        if amount > 0
    )


def _room_for(name: str, there: float, amount: float) -> int:
    """How many amounts there are of a resource; a part of a GPU is of one."""
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
    """An amount with its name; empty for none."""
    return "" if amount == 0 else f"{amount:g} {name}{'' if amount <= 1 else 's'}"
