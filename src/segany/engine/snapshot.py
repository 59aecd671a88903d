"""Snapshots: what a model is trained on, written once, named by its content and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from segany.core.errors import DataError
from segany.core.files import atomic_write_json
from segany.core.progress import CancelCheck, Progress, check_cancelled
from segany.data.shards import ShardWriter
from segany.engine.config import STAGES, Stage
from segany.engine.export import content_hash, to_record, whole_folder
from segany.engine.values import Accepted, Artefact

if TYPE_CHECKING:
    from segany.engine.store.store import Store

Part = Literal["train", "held_out"]
PARTS: tuple[Part, ...] = ("train", "held_out")
"""Folders of a snapshot; which part an image belongs to follows from its hash and never changes."""
INDEX = "snapshot.json"


def make_snapshot(
    store: Store,
    project: int,
    stages: Sequence[Stage] = STAGES,
    *,
    simulated: bool | None = None,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> Artefact:
    """Write everything that is accepted as SA-1B shards, training and held-out images apart.

    The same content is one snapshot: asked again, nothing is written.

    Args:
        store: where the documents lie; the snapshot joins them in its folder.
        project: whose.
        stages: an image that is done in several counts with the first of these.
        simulated: True only simulated people's documents, False only others', None all.
        progress: told (images done, images in all).
        cancelled: asked before every image; nothing is left then.

    Returns:
        The record; `part_of` says where its parts lie.

    Raises:
        DataError: nothing is accepted, or a photo is gone.
        Cancelled: `cancelled` said so.
    """
    chosen = list(store.accepted(project, stages, simulated=simulated))
    if not chosen:
        raise DataError(
            f"a snapshot needs accepted images of the stages {', '.join(stages)}; there are none. "
            "Annotate and review some first."
        )
    sha256 = content_hash([f"{_part(one)} {one.image.sha256} {one.document.sha256}" for one in chosen])
    target = store.folder / "snapshots" / sha256[:16]
    report: dict[str, dict[str, int]] = {
        part: {
            "images": sum(_part(one) == part for one in chosen),
            "masks": sum(one.document.masks for one in chosen if _part(one) == part),
        }
        for part in PARTS
    }
    if not (target / INDEX).is_file():
        with whole_folder(target) as fresh:
            _write(store, chosen, fresh, progress, cancelled)
            documents = {str(one.image.image_id): one.document.sha256 for one in chosen}
            content = {"sha256": sha256, "stages": list(stages), "parts": report, "documents": documents}
            atomic_write_json(fresh / INDEX, content, indent=1)
            for path in fresh.rglob("*"):
                if path.is_file():
                    path.chmod(0o444)
    return store.record_artefact(
        project,
        "snapshot",
        sha256=sha256,
        folder=target,
        stages=stages,
        images=len(chosen),
        masks=sum(one.document.masks for one in chosen),
        report=report,
    )


def part_of(store: Store, snapshot: Artefact, part: Part) -> Path | None:
    """The folder of shards of one part, for `segany.data.open.open_source`; None when no image belongs to it.

    Raises:
        NotFoundError: the snapshot is gone.
    """
    folder = store.artefact_path(snapshot) / part
    return folder if folder.is_dir() else None


def _part(one: Accepted) -> Part:
    return "held_out" if one.image.held_out else "train"


def _write(
    store: Store, chosen: Sequence[Accepted], folder: Path, progress: Progress | None, cancelled: CancelCheck | None
) -> None:
    done = 0
    for part in PARTS:
        members = [one for one in chosen if _part(one) == part]
        if not members:
            continue
        with ShardWriter(folder / part) as writer:
            for one in sorted(members, key=lambda one: one.image.image_id):
                check_cancelled(cancelled)
                writer.add(to_record(one), store.image_bytes(one.image))
                done += 1
                if progress is not None:
                    progress(done, len(chosen))
