"""DESIGN.md says which room may import which; the modules are parsed and compared with it.

A room is a folder of the package. Adding a file to one edits no table.
"""

import ast
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "glimr_keras"
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
TABLES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "DESIGN.md").read_text().splitlines()
    if line.startswith("|")
]


def names_in(cell):
    return re.findall(r"`(\w+)`", cell)


ROOMS = {names_in(row[1])[0]: row for row in TABLES if row[0].isdigit()}
LAYERS = {room: int(row[0]) for room, row in ROOMS.items()}
MAY_IMPORT = {room: set(names_in(row[3])) for room, row in ROOMS.items()}
WALLS = {
    names_in(row[0])[0]: set(names_in(row[1]))
    for row in TABLES
    if len(row) == 2 and re.fullmatch(r"`\w+`", row[0])
}
EVERYWHERE = {"_utils", "errors", "version"}  # what every room may use
HOUSE = {"__init__", "__main__", "src", "startup", "version", "errors"}  # what is in no room
DOORS = {"__init__", "__main__", "src"}  # of these, what imports from rooms


def room_of(module):
    """The room of a module, or the module itself where it is in none."""
    return module.split(".")[0]


def imports_of(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports_of(module):
    """The modules of the package that one of them imports; a package, if only its names are."""
    names = {
        name.removeprefix("glimr_keras.")
        for name in imports_of(FILES[module])
        if name.startswith("glimr_keras.")
    }
    return names & set(FILES) - {module}


def test_every_folder_is_a_room_of_the_table():
    assert {room_of(module) for module in FILES} - HOUSE == set(ROOMS)


def test_arrows_between_rooms_go_down():
    for room, others in MAY_IMPORT.items():
        for other in others:
            assert LAYERS[other] < LAYERS[room], f"{room} may import {other}"


@pytest.mark.parametrize("module", sorted(set(FILES) - DOORS))
def test_a_module_imports_only_from_rooms_that_its_own_may_know(module):
    room = room_of(module)
    known = EVERYWHERE if room in HOUSE else EVERYWHERE | MAY_IMPORT[room] | {room}
    assert {room_of(imported) for imported in own_imports_of(module)} <= known


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_modules_of_a_room_import_each_other_without_a_cycle(room):
    left = {
        module: {name for name in own_imports_of(module) if room_of(name) == room and name != room}
        for module in FILES
        if room_of(module) == room and module != room
    }
    while left:
        free = {module for module, needed in left.items() if not needed & set(left)}
        assert free, f"a cycle among {sorted(left)}"
        left = {module: needed for module, needed in left.items() if module not in free}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_module_is_not_imported_through_its_own_room(room):
    """Which would be a cycle through the room's `__init__`."""
    for module, path in FILES.items():
        if room_of(module) == room and module != room:
            through = {name for name in imports_of(path) if name.startswith(f"glimr_keras.{room}.")}
            names = {name for name in through if name.removeprefix("glimr_keras.") not in FILES}
            assert not {name for name in names if name.count(".") == 2}, module


@pytest.mark.parametrize("third_party", sorted(WALLS))
def test_third_parties_stay_in_their_rooms(third_party):
    users = {
        room_of(module)
        for module, path in FILES.items()
        if third_party in {name.split(".")[0] for name in imports_of(path)}
    }
    assert users == WALLS[third_party]


def test_no_third_party_is_used_that_the_table_does_not_have():
    used = {name.split(".")[0] for path in FILES.values() for name in imports_of(path)}
    assert used - set(sys.stdlib_module_names) == set(WALLS) | {"glimr_keras", "numpy"}


@pytest.mark.parametrize("module", sorted(FILES))
def test_modules_are_rooms_not_halls_and_say_what_they_are_for(module):
    text = FILES[module].read_text()
    assert len(text.splitlines()) <= 600
    assert ast.get_docstring(ast.parse(text))


def test_library_code_has_no_assert():
    for path in FILES.values():
        assert not any(
            isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text()))
        )
