"""A PostgreSQL server of one's own, for tests and measurements."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def tools() -> Path | None:
    """Folder of the newest server's programs; None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "initdb")]
    return found[-1].parent if found[-1].exists() else None


@contextmanager
def running(*settings: str) -> Iterator[str]:
    """Start a server, and stop it in the end.

    Args:
        settings: of the server, each "name=value".

    Yields:
        Its address, ending where the name of a database is to be added; "postgres" is there.
    """
    programs = tools()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="segany-pg-"))
    folder.chmod(0o755)
    data, sockets = folder / "data", folder / "sockets"
    sockets.mkdir(mode=0o777)
    sockets.chmod(0o777)
    as_nobody: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody", "nogroup")

    def call(tool: str, *arguments: str) -> None:
        command = [*as_nobody, str(programs / tool), "-D", str(data), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    options = " ".join(f"-c {one}" for one in ("listen_addresses=", f"unix_socket_directories={sockets}", *settings))
    try:
        call("initdb", "-U", "segany", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://segany@/?host={sockets}&dbname="
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
