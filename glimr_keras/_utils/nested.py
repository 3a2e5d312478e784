"""Nested dicts and lists, and paths through them. Pure Python; runs anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MISSING: Any = object()
"""The result for a path that does not exist."""


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by full name as nested dicts.

    An option with hyperparameters of its own becomes a dict with its label as `"name"`.
    """
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *scopes, leaf = name.split("/")
        branch = tree
        for scope in scopes:
            inner = branch.setdefault(scope, {})
            if not isinstance(inner, dict):
                inner = branch[scope] = {"name": inner}
            branch = inner
        if isinstance(branch.get(leaf), dict):
            branch[leaf] = {"name": value, **branch[leaf]}
        else:
            branch[leaf] = value
    return tree


def at_path(tree: Any, path: str) -> Any:
    """Return the value at a path such as `"layers/0/units"`, or `MISSING`."""
    for step in path.split("/"):
        if isinstance(tree, Mapping) and step in tree:
            tree = tree[step]
        elif isinstance(tree, (list, tuple)) and step.isdigit() and int(step) < len(tree):
            tree = tree[int(step)]
        else:
            return MISSING
    return tree


def copied(tree: Any) -> Any:
    """Return a copy of nested dicts and lists; it shares the objects in them."""
    if type(tree) is dict:
        return {key: copied(value) for key, value in tree.items()}
    if type(tree) is list:
        return [copied(value) for value in tree]
    return tree


def is_json(value: Any) -> bool:
    """Return whether a value can be JSON: a scalar, or lists and dicts of these."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_json(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_json, value))
    return value is None or isinstance(value, (bool, int, float, str))
