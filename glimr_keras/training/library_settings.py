"""The global settings of Keras and other libraries: a table of how each is read and written. Runs
in driver and worker.

A script sets them once, at its top. A worker's process starts without them, and
`keras.backend.clear_session` resets some.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

from glimr_keras._utils.saying import say


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting, or several that are read and written together.

    Attributes:
        library: The module that has the setting. It is not read if the module is not imported.
        read: Returns the value, given the module.
        write: Sets a value, given the module.
        default: The value in a process that sets nothing. No library is imported for it.
    """

    library: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], None]
    default: Any = None

    def is_now(self, module: Any, value: Any) -> bool:
        """Return whether the setting already has a value."""
        return bool(self.read(module) == value)


def current() -> dict[str, Any]:
    """Return the settings of this process by name, as far as their libraries are imported and have
    them.
    """
    found: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        module = sys.modules.get(setting.library)
        if module is not None:
            with contextlib.suppress(Exception):  # another version of the library
                found[name] = setting.read(module)
    return found


def apply(values: Mapping[str, Any]) -> None:
    """Apply the settings of another process, as `current` returned them there.

    Settings that this machine's libraries do not have are reported once, and skipped.
    """
    for name, setting in SETTINGS.items():
        is_wanted = name in values and values[name] != setting.default
        try:
            _apply(setting, values.get(name, setting.default), is_wanted, name in values)
        except Exception as error:  # no such library, or another version of it
            if is_wanted and name not in _said:
                _said.add(name)
                say(
                    f"A setting of the script cannot be taken over on {socket.gethostname()}, "
                    f"where trials go on without it: {name} ({type(error).__name__}: {error})."
                )


_said: set[str] = set()
"""The missing settings that this process has reported."""


def _apply(setting: Setting, value: Any, is_wanted: bool, is_known: bool) -> None:
    module = sys.modules.get(setting.library)
    if module is None and is_wanted:
        module = importlib.import_module(setting.library)
    if module is None or (setting.library == "keras" and not is_known):
        return
    if not setting.is_now(module, value):
        setting.write(module, value)


def _keras(name: str, write: str | None = None) -> Setting:
    """Return a setting of `keras.config` with a getter of this name and a setter."""
    setter = write or f"set_{name}"
    return Setting(
        "keras",
        lambda keras: getattr(keras.config, name)(),
        lambda keras, value: getattr(keras.config, setter)(value),
    )


def _keras_switch(name: str) -> Setting:
    """Return a setting of `keras.config` that is enabled or disabled. `None` leaves it to Keras."""
    return Setting(
        "keras",
        lambda keras: getattr(keras.config, f"is_{name}_enabled")(),
        lambda keras, value: getattr(
            keras.config, f"{'disable' if value is False else 'enable'}_{name}"
        )(),
    )


def _is_unsafe(keras: Any) -> bool:
    from keras.src.saving import serialization_lib  # Keras has no public name for it

    return serialization_lib.in_safe_mode() is False


def _set_unsafe(keras: Any, value: bool) -> None:
    if value:  # clearing a session resets it to safe
        keras.config.enable_unsafe_deserialization()


def _is_deterministic(tensorflow: Any) -> bool:
    from tensorflow.python.framework import config  # TensorFlow has no public name for it

    return bool(config.is_op_determinism_enabled())


def _set_deterministic(tensorflow: Any, value: bool) -> None:
    if value:
        tensorflow.config.experimental.enable_op_determinism()
        return
    from tensorflow.python.framework import config

    config.disable_op_determinism()


def _checks_numerics(tensorflow: Any) -> bool:
    from tensorflow.python.debug.lib import check_numerics_callback  # no public name either

    return hasattr(check_numerics_callback._state, "check_numerics_callback")


def _set_checks_numerics(tensorflow: Any, value: bool) -> None:
    debugging = tensorflow.debugging
    (debugging.enable_check_numerics if value else debugging.disable_check_numerics)()


def _debugs_data(tensorflow: Any) -> bool:
    from tensorflow.python.data.ops import debug_mode  # no public name either

    return bool(debug_mode.DEBUG_MODE)


def _set_debugs_data(tensorflow: Any, value: bool) -> None:
    from tensorflow.python.data.ops import debug_mode

    debug_mode.toggle_debug_mode(value)


def _jax(name: str, default: Any = False) -> Setting:
    return Setting(
        "jax",
        lambda jax: getattr(jax.config, name),
        lambda jax, value: jax.config.update(name, value),
        default,
    )


_WITHOUT_WINDOWS = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


def _own_figures(matplotlib: Any) -> dict[str, Any]:
    """Return the figure settings that a script has changed, and its backend if that opens no
    windows.
    """
    values, usual = matplotlib.rcParams, matplotlib.rcParamsDefault
    found = {
        name: value
        for name, value in dict.items(values)  # `rcParams.items()` would choose a backend
        if name != "backend"
        and isinstance(value, (str, int, float, list, tuple))
        and value != dict.get(usual, name)
    }
    backend = dict.get(values, "backend")
    is_plain = isinstance(backend, str) and backend.lower() in _WITHOUT_WINDOWS
    return {**found, "backend": backend} if is_plain else found


def _set_figures(matplotlib: Any, value: Mapping[str, Any]) -> None:
    usual = matplotlib.rcParamsDefault
    others = {name for name in _own_figures(matplotlib) if name in usual and name not in value}
    matplotlib.rcParams.update({name: usual[name] for name in others - {"backend"}})
    unknown = [name for name in value if name not in matplotlib.rcParams]
    matplotlib.rcParams.update({name: value[name] for name in value if name not in unknown})
    if unknown:
        raise AttributeError(f"this version does not have {', '.join(unknown)}")


_OF_SKLEARN = {
    "assume_finite": False,
    "enable_metadata_routing": False,
    "transform_output": "default",
}


def _set_sklearn(sklearn: Any, value: Mapping[str, Any]) -> None:
    """Set the options that this version knows.

    Raises:
        AttributeError: If it does not know an option whose value is not the default.
    """
    known = sklearn.get_config().keys()
    sklearn.set_config(**{name: item for name, item in value.items() if name in known})
    unknown = {
        name: item
        for name, item in value.items()
        if name not in known and item != _OF_SKLEARN.get(name)
    }
    if unknown:
        raise AttributeError(f"this version does not have {', '.join(unknown)}")


SETTINGS: dict[str, Setting] = {
    "floatx": _keras("floatx"),
    "epsilon": _keras("epsilon"),
    "image_data_format": _keras("image_data_format"),
    "dtype_policy": _keras("dtype_policy"),
    "max_epochs": _keras("max_epochs"),
    "max_steps_per_epoch": _keras("max_steps_per_epoch"),
    "interactive_logging": _keras_switch("interactive_logging"),
    "traceback_filtering": _keras_switch("traceback_filtering"),
    "flash_attention": _keras_switch("flash_attention"),
    "unsafe_deserialization": Setting("keras", _is_unsafe, _set_unsafe),
    "distribution": Setting(
        "keras",
        lambda keras: keras.distribution.distribution(),
        lambda keras, value: keras.distribution.set_distribution(value),
    ),
    "tensorflow: functions run eagerly": Setting(
        "tensorflow",
        lambda tensorflow: tensorflow.config.functions_run_eagerly(),
        lambda tensorflow, value: tensorflow.config.run_functions_eagerly(value),
        default=False,
    ),
    "tensorflow: deterministic operations": Setting(
        "tensorflow", _is_deterministic, _set_deterministic, default=False
    ),
    "tensorflow: TensorFloat-32": Setting(
        "tensorflow",
        lambda tensorflow: tensorflow.config.experimental.tensor_float_32_execution_enabled(),
        lambda tensorflow, value: tensorflow.config.experimental.enable_tensor_float_32_execution(
            value
        ),
        default=True,
    ),
    "tensorflow: soft device placement": Setting(
        "tensorflow",
        lambda tensorflow: tensorflow.config.get_soft_device_placement(),
        lambda tensorflow, value: tensorflow.config.set_soft_device_placement(value),
        default=True,
    ),
    "tensorflow: XLA": Setting(
        "tensorflow",
        lambda tensorflow: tensorflow.config.optimizer.get_jit(),
        lambda tensorflow, value: tensorflow.config.optimizer.set_jit(value or False),
        default="",
    ),
    "tensorflow: optimizer of graphs": Setting(
        "tensorflow",
        lambda tensorflow: tensorflow.config.optimizer.get_experimental_options(),
        lambda tensorflow, value: tensorflow.config.optimizer.set_experimental_options(value),
        default={},
    ),
    "tensorflow: checks of numbers": Setting(
        "tensorflow", _checks_numerics, _set_checks_numerics, default=False
    ),
    "tensorflow: data in debug mode": Setting(
        "tensorflow", _debugs_data, _set_debugs_data, default=False
    ),
    "torch: default type": Setting(
        "torch",
        lambda torch: str(torch.get_default_dtype()),
        lambda torch, value: torch.set_default_dtype(getattr(torch, value.split(".")[-1])),
        default="torch.float32",
    ),
    "torch: precision of products": Setting(
        "torch",
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, value: torch.set_float32_matmul_precision(value),
        default="highest",
    ),
    "torch: deterministic algorithms": Setting(
        "torch",
        lambda torch: torch.are_deterministic_algorithms_enabled(),
        lambda torch, value: torch.use_deterministic_algorithms(value),
        default=False,
    ),
    "torch: checks of gradients": Setting(
        "torch",
        lambda torch: torch.is_anomaly_enabled(),
        lambda torch, value: torch.autograd.set_detect_anomaly(value),
        default=False,
    ),
    "jax: 64 bits": _jax("jax_enable_x64"),
    "jax: checks for nan": _jax("jax_debug_nans"),
    "jax: without compilation": _jax("jax_disable_jit"),
    "jax: precision of products": _jax("jax_default_matmul_precision", None),
    "jax: promotion of ranks": _jax("jax_numpy_rank_promotion", "allow"),
    "numpy: errors of numbers": Setting(
        "numpy",
        lambda numpy: numpy.geterr(),
        lambda numpy, value: numpy.seterr(**value),
        default={"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
    ),
    "sklearn": Setting(
        "sklearn",
        lambda sklearn: {
            name: value for name, value in sklearn.get_config().items() if name in _OF_SKLEARN
        },
        _set_sklearn,
        default=_OF_SKLEARN,
    ),
    "matplotlib": Setting(
        "matplotlib",
        _own_figures,
        _set_figures,
        default={},
    ),
    "PIL: images that are cut off": Setting(
        "PIL.ImageFile",
        lambda files: files.LOAD_TRUNCATED_IMAGES,
        lambda files, value: setattr(files, "LOAD_TRUNCATED_IMAGES", value),
        default=False,
    ),
    "PIL: largest image": Setting(
        "PIL.Image",
        lambda images: images.MAX_IMAGE_PIXELS,
        lambda images, value: setattr(images, "MAX_IMAGE_PIXELS", value),
        default=89478485,
    ),
}
"""Devices and threads of `tensorflow` are not here: they depend on the trial's resources."""
