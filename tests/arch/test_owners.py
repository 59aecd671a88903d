"""Who alone may import or call what."""

from __future__ import annotations

import ast

import pytest

from ._sources import Module, modules

OWNERS = {
    "onnx": ("export",),
    "onnxscript": ("export",),
    "onnxruntime": ("export", "predict.backends"),
    "openvino": ("export", "predict.backends"),
    "fastapi": ("service",),
    "starlette": ("service",),
    "uvicorn": ("service",),
    "ray": ("batch",),
    "sqlalchemy": ("engine.store",),
    "alembic": ("engine.store",),
    "psycopg": ("engine.store",),
    "pwdlib": ("engine.store",),
    "pycocotools": ("masks",),
    "cyclopts": ("cli",),
    "matplotlib": ("pictures",),
}
"""Library -> the rooms, or places inside a room, that may import it."""

ALLOWED_ELSEWHERE = {("cyclopts", "recipes")}

NO_TORCH = ("core", "geometry")


def imported(module: Module) -> set[str]:
    return {name.split(".")[0] for _, name in module.imports}


def runtime_top_level(module: Module) -> set[str]:
    """Libraries that importing the module loads: its own top-level imports, TYPE_CHECKING left out."""
    names: set[str] = set()
    for node in module.tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_sole_owner(library: str) -> None:
    wrong = []
    for module in modules():
        inside = module.name.removeprefix("segany").lstrip(".")
        owned = any(inside == place or inside.startswith(place + ".") for place in OWNERS[library])
        if library in imported(module) and not owned and (library, module.room) not in ALLOWED_ELSEWHERE:
            wrong.append(module.name)
    assert not wrong, f"{library} belongs to {OWNERS[library]}; also imported by {wrong}"


def calls(module: Module) -> list[tuple[int, str]]:
    """Calls written as ``name(...)`` or ``owner.name(...)``, as (line, text)."""
    return [
        (node.lineno, ast.unparse(node.func))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name))
    ]


def test_images_are_decoded_only_in_transforms() -> None:
    wrong = [
        f"{module.at(line)} {name}"
        for module in modules()
        if module.room != "transforms"
        for line, name in calls(module)
        if name in ("Image.open", "PIL.Image.open", "imread", "imdecode") or name.endswith((".imread", ".imdecode"))
    ]
    assert not wrong, "\n".join(wrong)


def test_modeling_stays_trainable() -> None:
    wrong = []
    for module in modules():
        if module.room != "modeling":
            continue
        for node in ast.walk(module.tree):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
            if name in ("no_grad", "inference_mode"):
                wrong.append(module.at(node.lineno))  # type: ignore[attr-defined]
    assert not wrong, f"no_grad has no place in modeling: {wrong}"


def test_light_modules_stay_light() -> None:
    heavy = {"torch", "cv2", "matplotlib", "scipy", "skimage", "transformers"}
    light = [m for m in modules() if m.room in NO_TORCH or m.path.name in ("config.py", "presets.py")]
    light += [m for m in modules() if m.path.name == "__init__.py"]
    assert light
    wrong = [f"{m.name}: {sorted(heavy & runtime_top_level(m))}" for m in light if heavy & runtime_top_level(m)]
    assert not wrong, "\n".join(wrong)


def test_pickle_is_never_used() -> None:
    wrong = [
        f"{module.at(line)} {name}"
        for module in modules()
        for line, name in calls(module)
        if name in ("pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "dill.load", "dill.loads")
    ]
    assert not wrong, f"these read pickles: {wrong}"
    unsafe = [
        m.at(node.lineno)
        for m in modules()
        for node in ast.walk(m.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "torch.load"
        and not any(
            k.arg == "weights_only" and isinstance(k.value, ast.Constant) and k.value.value is True
            for k in node.keywords
        )
    ]
    assert not unsafe, f"torch.load without weights_only=True runs code from the file: {unsafe}"
