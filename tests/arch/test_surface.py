"""The public names, and what importing costs."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys

import pytest

import segany

from ._sources import ROOT, modules

SURFACE = {
    "AutomaticMaskGenerator",
    "CheckpointError",
    "DataError",
    "EmbeddingError",
    "ImageEmbedding",
    "ImageError",
    "ImageRecord",
    "InputError",
    "MaskRecord",
    "MissingDependencyError",
    "NotAvailableError",
    "OptionError",
    "Prediction",
    "Predictor",
    "Prompt",
    "PromptError",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "SeganyError",
    "__version__",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "sam_model_registry",
}

EXTRAS_ONLY = (
    "accelerate",
    "alembic",
    "fastapi",
    "faster_coco_eval",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "peft",
    "psycopg",
    "pwdlib",
    "pyarrow",
    "pydantic",
    "ray",
    "sqlalchemy",
    "starlette",
    "tensorboard",
    "transformers",
    "uvicorn",
)
"""Libraries of the extras: no module may need one merely to be imported."""

NEEDS_ITS_EXTRA = ("segany.service.", "segany.engine.store.")
"""Places that are their extra: behind their front door, everything is made of its library."""


def test_surface_is_exactly_this() -> None:
    assert set(segany.__all__) == SURFACE
    assert set(dir(segany)) == SURFACE


@pytest.mark.parametrize("name", sorted(SURFACE - {"__version__"}))
def test_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(segany, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), f"segany.{name} has no docstring"


def test_type_checkers_see_the_same_names() -> None:
    source = (ROOT / "src" / "segany" / "__init__.py").read_text(encoding="utf-8")
    for name in SURFACE - {"__version__"}:
        home = segany._HOME[name]
        assert f"from {home} import {name} as {name}\n" in source


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = segany.nothing_like_this


def run_python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_imports_on_the_bare_install() -> None:
    """Every module, in one fresh interpreter where the extras' libraries cannot be found."""
    names = [m.name for m in modules() if m.path.name != "__main__.py"]
    names = [name for name in names if not name.startswith(NEEDS_ITS_EXTRA) or name == "segany.service.settings"]
    code = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS_ONLY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
for name in {names!r}:
    importlib.import_module(name)
print("imported", len({names!r}))
"""
    assert run_python(code).strip() == f"imported {len(names)}"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["segment", "--help"], ["everything", "--help"]])
def test_help_is_light(arguments: list[str]) -> None:
    """Help answers at once because nothing heavy is loaded for it."""
    code = f"""
import sys
from segany.cli.app import main
try:
    code = main({arguments!r})
except SystemExit as stop:
    code = stop.code
assert not code, code
heavy = sorted({{"torch", "cv2", "scipy", "skimage", "matplotlib", "pycocotools"}} & set(sys.modules))
assert not heavy, heavy
"""
    run_python(code)


def test_importing_segany_is_light() -> None:
    run_python("import sys, segany; assert not {'torch', 'cv2', 'numpy', 'PIL'} & set(sys.modules)")


def test_extras_are_declared() -> None:
    tomllib = importlib.import_module("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    expected = {"train", "data", "export", "serve", "batch", "text", "test", "dev"}
    assert set(project["optional-dependencies"]) == expected
    assert project["requires-python"] == ">=3.11"
    assert any(line.startswith("torch") and "<" in line for line in project["dependencies"])
