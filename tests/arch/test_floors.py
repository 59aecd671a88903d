"""The rooms and the direction between them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ._sources import PACKAGE, Module, modules

FLOORS = {
    "core": 0,
    "geometry": 1,
    "masks": 2,
    "prompts": 3,
    "records": 3,
    "transforms": 4,
    "modeling": 4,
    "data": 5,
    "predict": 5,
    "pictures": 5,
    "export": 5,
    "training": 6,
    "evaluation": 6,
    "engine": 6,
    "batch": 7,
    "service": 7,
    "compat": 7,
    "recipes": 8,
    "cli": 9,
}


def floor_violations(module: Module) -> list[str]:
    """Imports of this module that climb, or cross to a neighbour on the same floor."""
    if not module.room:
        return []
    mine = FLOORS[module.room]
    wrong = []
    for line, name in module.imports:
        parts = name.split(".")
        if parts[0] != "segany" or len(parts) < 2 or parts[1] not in FLOORS or parts[1] == module.room:
            continue
        if FLOORS[parts[1]] >= mine:
            wrong.append(f"{module.at(line)} imports {name}: floor {mine} may not see floor {FLOORS[parts[1]]}")
    return wrong


def test_every_folder_is_a_known_room() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert rooms <= set(FLOORS), f"rooms without a floor: {sorted(rooms - set(FLOORS))}"


def test_a_room_imports_only_lower_floors() -> None:
    wrong = [line for module in modules() for line in floor_violations(module)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("masks", "from segany.predict.predictor import Predictor"),
        ("modeling", "def f():\n    from segany.transforms.image import read_image"),
        ("core", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import segany.masks.rle"),
        ("training", "from ..evaluation import metrics"),
        ("engine", "from importlib import import_module\nimport_module('segany.training.losses')"),
    ],
)
def test_the_floor_test_has_teeth(room: str, source: str) -> None:
    module = Module(PACKAGE / room / "invented.py")
    module.__dict__["tree"] = ast.parse(source)
    assert floor_violations(module), f"{source!r} in {room} went unseen"


def test_top_level_files_are_few() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert Path(PACKAGE / "py.typed").exists()
