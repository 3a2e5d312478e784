"""What each trial gets of a cluster's CPUs and GPUs, and how many trials fit. Pure Python; runs in
the driver.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from glimr_keras.errors import ResourcesError

Machine = Mapping[str, float]
"""What a machine has, by Ray's names: `CPU`, `GPU`, and custom resources."""

MOST_PER_GPU = 100
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
                f"{amount:g} {name}"
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
        if any(machine.get("GPU", 0) >= 1 for machine in machines):
            wanted = {**(wanted or {}), "gpu": _part(per_gpu)}
        else:
            per_gpu = 1
    given = {"gpu": 0.0, **(wanted or {})}
    resources = {"cpu": given.get("cpu", _cpus_for(given["gpu"], machines)), **given}
    capacity = sum(_room(machine, resources) for machine in machines)
    if capacity == 0:
        raise _no_room(machines, resources)
    return Share(resources, capacity, per_gpu)


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
        int(machine.get(_NAMES.get(name, name), 0) / amount + 1 / _UNITS)
        for name, amount in resources.items()
        if amount > 0
    )


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
