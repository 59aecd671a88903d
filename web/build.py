"""Builds the page into `src/segany/service/page`, when its sources have changed: ``python web/build.py``.

Standard library only. The set-up (`run.py`), the wheel (`hatch_build.py`) and the tests call it; it needs Node 20 or
newer and says so plainly where there is none, because everything but the page works without.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
PAGE = WEB.parent / "src" / "segany" / "service" / "page"
STAMP = PAGE / ".built-from"
OLDEST_NODE = 20
NOT_SOURCES = {"node_modules", "tests", "ort", "dist", "schema.d.ts"}


class NoNode(Exception):
    """Node is missing or too old; the message says what to do."""


def main() -> int:
    try:
        print("page: built" if build() else "page: up to date")
    except NoNode as problem:
        print(f"page: {problem}", file=sys.stderr)
        return 3
    except subprocess.CalledProcessError as problem:
        print(f"page: {' '.join(map(str, problem.cmd))} failed (see above)", file=sys.stderr)
        return 1
    return 0


def build() -> bool:
    """Build the page; False when it is up to date.

    Raises:
        NoNode: there is no Node that could.
        CalledProcessError: npm failed.
    """
    wanted = fingerprint()
    if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == wanted:
        return False
    install()
    npm("run", "--silent", "build")
    STAMP.write_text(wanted, encoding="utf-8")
    return True


def install() -> None:
    """Install what the lock file names, when it is not there yet."""
    require_node()
    mark = WEB / "node_modules" / ".segany-lock"
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text(encoding="utf-8") == lock:
        return
    npm("ci", "--no-audit", "--no-fund", "--loglevel=error")
    mark.write_text(lock, encoding="utf-8")


def npm(*words: str) -> None:
    program = shutil.which("npm")
    if program is None:
        raise NoNode(absent("npm is not there"))
    subprocess.run([program, *words], cwd=WEB, check=True, env={**os.environ, "npm_config_update_notifier": "false"})


def require_node() -> None:
    program = shutil.which("node")
    if program is None:
        raise NoNode(absent("Node is not there"))
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.match(r"v(\d+)", version)
    if found is None or int(found[1]) < OLDEST_NODE:
        raise NoNode(absent(f"this Node is {version.strip() or 'of an unknown version'}"))


def absent(found: str) -> str:
    return (
        f"not built: it needs Node {OLDEST_NODE} or newer, and {found}. Everything else works without it; install Node "
        "and run `python web/build.py` to have the page at `segany serve`."
    )


def fingerprint() -> str:
    """SHA-256 over every source of the page."""
    digest = hashlib.sha256()
    for path in sorted(WEB.rglob("*")):
        inside = path.relative_to(WEB)
        if path.is_file() and not NOT_SOURCES & set(inside.parts) and path.suffix != ".py":
            digest.update(inside.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
