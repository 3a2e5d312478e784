"""DESIGN.md says which module may import which; the modules are parsed and compared with it."""

import ast
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "glimr_keras"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path for path in PACKAGE.rglob("*.py")
}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "DESIGN.md").read_text().splitlines()
    if line.startswith("|")
]


def names_in(cell):
    return re.findall(r"`([\w.]+)`", cell)


LAYERS = {name: int(row[0]) for row in ROWS if row[0].isdigit() for name in names_in(row[1])}
WALLS = {
    names_in(row[0])[0]: set(names_in(row[1]))
    for row in ROWS
    if re.fullmatch(r"`\w+`", row[0]) and not row[0].startswith("`__")
}


def imports_of(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_its_place_in_the_table():
    assert set(LAYERS) == set(MODULES)


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__init__"}))
def test_imports_go_one_way(module):
    ours = {name.removeprefix("glimr_keras.") for name in imports_of(MODULES[module]) if name.startswith("glimr_keras")}
    for imported in ours & set(LAYERS) - {module}:
        assert LAYERS[imported] < LAYERS[module], f"{module} imports {imported}"


@pytest.mark.parametrize("third_party", sorted(WALLS))
def test_third_parties_stay_in_their_rooms(third_party):
    users = {module for module, path in MODULES.items() if third_party in {name.split(".")[0] for name in imports_of(path)}}
    assert users == WALLS[third_party]


def test_no_third_party_is_used_that_the_table_does_not_have():
    used = {name.split(".")[0] for path in MODULES.values() for name in imports_of(path)}
    assert used - set(sys.stdlib_module_names) == set(WALLS) | {"glimr_keras", "numpy"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_are_rooms_not_halls_and_say_what_they_are_for(module):
    text = MODULES[module].read_text()
    assert len(text.splitlines()) <= 450
    assert ast.get_docstring(ast.parse(text))


def test_library_code_has_no_assert():
    for path in MODULES.values():
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text())))
