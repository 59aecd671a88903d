"""Puts the built page into the wheel."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the page before a wheel is made; an editable installation and a machine without Node go without."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects the files."""
        script = Path(self.root) / "web" / "build.py"
        if version == "editable" or self.target_name != "wheel" or not script.is_file():
            return
        page = load(script)
        try:
            page.build()
        except page.NoNode as problem:
            self.app.display_warning(f"the page is {problem}")
        except subprocess.CalledProcessError as problem:
            raise RuntimeError("the page could not be built; see npm's messages above") from problem


def load(script: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location("segany_page_build", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
