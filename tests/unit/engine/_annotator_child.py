"""Annotates until nothing is left: `python _annotator_child.py FOLDER DATABASE PROJECT USER`. Meant to be killed.

Tells every submission that the store has acknowledged on its standard output, a line each: task and document.
"""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from unit.engine.conftest import document

from segany.engine.store import open_store


def main(folder: str, database: str, project: int, user: int) -> None:
    store = open_store(folder, database=database)
    while True:
        work = store.claim(project, user)
        if work is None:
            states = {task.state for task in store.tasks(project)}
            if states <= {"accepted", "submitted"}:
                return
            time.sleep(0.05)  # others hold what is left: wait for their leases
            continue
        made = document(work.image, (2, 2, 12, 12))
        outcome = store.submit(user, work.lease, made, key=str(uuid.uuid4()))
        print(outcome.task.id, outcome.document, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
