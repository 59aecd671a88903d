"""The page's own tests, types and style; the API it was generated for; the lock file it is installed from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"


@pytest.mark.parametrize("script", ["lint", "types", "test"])
def test_the_pages_own_checks(page_folder: Path, script: str) -> None:
    done = subprocess.run(["npm", "run", "--silent", script], cwd=WEB, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_the_page_speaks_todays_api() -> None:
    from segany.service import create_app
    from segany.service.settings import Settings

    written = json.loads((WEB / "openapi.json").read_text(encoding="utf-8"))
    current = json.loads(json.dumps(create_app(Settings(), describe_all=True).openapi()))
    for document in (written, current):
        document["info"].pop("version", None)
    again = "run: segany serve --openapi web/openapi.json"
    assert written == current, f"the API has changed since it was written down for the page's types; {again}"


def test_the_lock_file_names_no_registry() -> None:
    lock = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert "registry" not in lock


def test_the_built_page_asks_nobody_else(page_folder: Path) -> None:
    page = (page_folder / "index.html").read_text(encoding="utf-8")
    styles = "".join(path.read_text(encoding="utf-8") for path in page_folder.glob("assets/*.css"))
    assert "http://" not in page + styles
    assert "https://" not in page + styles
