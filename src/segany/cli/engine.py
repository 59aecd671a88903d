"""`segany engine`: annotate, complete, generate, retrain, release."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from segany.cli.console import Bar, say, show, table
from segany.cli.engine_where import Where, admin_of
from segany.core.errors import NotFoundError, OptionError

if TYPE_CHECKING:
    pass

engine = App(
    name="engine",
    help="The data engine: people annotate with the model's help, and what they make trains a better model. Serve its "
    "page with `segany serve --project DIR`.",
    help_format="plaintext",
)
PASSWORD = "SEGANY_PASSWORD"
"""Environment variable with the password of a new account."""
Stage = Literal["manual", "semi", "auto"]


@engine.command
def init(
    folder: Path,
    /,
    *,
    project: Annotated[str, Parameter(help="Name of the project.")] = "project",
    admin: Annotated[str, Parameter(help="Name of the first account.")] = "admin",
    database: Annotated[
        str | None, Parameter(help="postgresql+psycopg://…; a file in the folder when left out.")
    ] = None,
    settings: Annotated[
        Path | None, Parameter(help="JSON with settings: guideline, licence, review_share, held_out_share, …")
    ] = None,
) -> int:
    """Make a project in a new folder, with an admin who can add others.

    The password comes from a prompt, from SEGANY_PASSWORD, or from the first line of standard input.

    Args:
        folder: for photos, weights, snapshots, and by default the database.
    """
    from segany.engine.store import open_store

    chosen = _settings(settings)
    password = _password(admin)
    store = open_store(folder, database=database, create=True)
    try:
        made = store.create_project(project, settings=chosen)
        if admin not in {one.name for one in store.users()}:
            store.add_user(admin, password, "admin")
        show(f"project {made.name!r} in {store.folder}; {admin} is its admin")
    finally:
        store.close()
    say(f"next: segany engine add {folder} PHOTOS, then segany serve --project {folder}")
    return 0


@engine.command
def users(
    folder: Path,
    /,
    *,
    add: Annotated[str | None, Parameter(help="Name of a new account; its password is asked for.")] = None,
    role: Annotated[Literal["annotator", "reviewer", "admin"], Parameter(help="Of the new account.")] = "annotator",
    lock: Annotated[str | None, Parameter(help="Name of an account that may not log in any more.")] = None,
    where: Where | None = None,
) -> int:
    """List the people of a folder, add one, or lock one out.

    Args:
        folder: of the data engine.
    """
    with (where or Where()).open(folder) as (store, _):
        if add is not None:
            store.add_user(add, _password(add), role)
        if lock is not None:
            found = [one.id for one in store.users() if one.name == lock]
            if not found:
                raise NotFoundError(f"expected an account named {lock!r}; there is none. See: segany engine users.")
            store.change_user(found[0], active=False)
        rows = [
            [one.name, one.role, "yes" if one.active else "locked", "simulated" if one.simulated else ""]
            for one in store.users()
        ]
    show(table(["name", "role", "may log in", ""], rows))
    return 0


@engine.command
def add(
    folder: Path,
    /,
    *photos: str,
    stage: Annotated[
        Literal["manual", "none"], Parameter(help="manual: into the queue at once; none: only kept.")
    ] = "manual",
    where: Where | None = None,
) -> int:
    """Take photos in; those that are there already stay as they are.

    Args:
        folder: of the data engine.
        photos: files, folders, or patterns in quotes.
    """
    from segany.batch.plan import find_images

    if not photos:
        raise OptionError("expected photos to take in; got none. Name files, folders, or patterns in quotes.")
    paths = [item.path for source in photos for item in find_images(source)]
    with (where or Where()).open(folder) as (store, project):
        told = store.add_images(project.id, paths)
        for line in told.refused:
            say(f"refused: {line}")
        queued = store.open_stage(project.id, "manual", [one.id for one in told.added]) if stage == "manual" else 0
    show(
        f"{len(told.added)} photos added, {told.there_already} were there, {len(told.refused)} refused, {queued} queued"
    )
    return 1 if told.refused else 0


@engine.command(name="import")
def import_(
    folder: Path,
    source: Path,
    /,
    *,
    as_: Annotated[
        Literal["accepted", "prefill", "gold"],
        Parameter(name="--as", help="They count; people start from them; annotators are tested with them."),
    ] = "accepted",
    images: Annotated[Path | None, Parameter(help="Folder of the photos, where they lie elsewhere.")] = None,
    stage: Annotated[Literal["manual", "semi"], Parameter(help="Which stage they count for.")] = "manual",
    where: Where | None = None,
) -> int:
    """Take photos with masks in: COCO, SA-1B, CVAT, Label Studio, LabelMe, label maps, PNG folders.

    Args:
        folder: of the data engine.
        source: the data set.
    """
    from segany.data.open import SourceOptions, open_source
    from segany.engine.moving import bring_in

    with (where or Where()).open(folder) as (store, project):
        found = open_source(source, options=SourceOptions(images=images))
        told = bring_in(store, project.id, admin_of(store), found, stage=stage, arrival=as_)
    for line in told.refused:
        say(f"refused: {line}")
    show(f"{told.images} images with {told.masks} masks came in, {told.there_already} were there")
    return 1 if told.refused else 0


@engine.command
def status(folder: Path, /, *, where: Where | None = None) -> int:
    """Progress, effort, people, rounds, and the weights in use.

    Args:
        folder: of the data engine.
    """
    with (where or Where()).open(folder) as (store, project):
        numbers, rounds, current = store.stats(project.id), store.rounds(project.id), store.current_model(project.id)
    show(f"{project.name}: {numbers.images} images, {dict(numbers.privacy)}")
    if numbers.simulated:
        show(f"{numbers.simulated} documents are simulated people's")
    rows = [
        [one.stage, f"{one.progress:.0%}", f"{one.total}", f"{one.done.masks}", *_ratios(one.done)]
        for one in numbers.stages
    ]
    show(table(["stage", "done", "images", "masks", "masks/image", "clicks/mask", "seconds/mask"], rows))
    people = [
        [one.name + (" (simulated)" if one.simulated else ""), one.role, f"{one.work.images}", *_ratios(one.work)]
        for one in numbers.people
    ]
    if people:
        show(table(["person", "role", "images", "masks/image", "clicks/mask", "seconds/mask"], people))
    for one in rounds:
        show(f"round {one.number}, {one.stage}: {one.state}{', published' if one.published else ''}. {one.note}")
    show(
        "weights in use: "
        + ("none published yet" if current is None else f"{current.name}, {current.fingerprint[:12]}")
    )
    return 0


@engine.command
def rollback(
    folder: Path,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; it is kept.")] = "",
    where: Where | None = None,
) -> int:
    """Put the weights that were in use before back into use; a running service takes them at once.

    Args:
        folder: of the data engine.
    """
    with (where or Where()).open(folder) as (store, project):
        now = store.rollback(project.id, user=admin_of(store), reason=reason)
    show(f"in use again: {now.name}, {now.fingerprint[:12]}")
    return 0


@engine.command
def audit(
    folder: Path,
    /,
    *,
    stage: Annotated[Stage, Parameter(help="Whose finished images.")] = "auto",
    count: Annotated[int, Parameter(help="So many images, 500 at most, are put up for improvement by hand.")] = 0,
    seed: Annotated[int, Parameter(help="Of the choice.")] = 0,
    where: Where | None = None,
) -> int:
    """The paper's audit: every mask of some finished images is improved by hand and compared with itself before.

    Args:
        folder: of the data engine.
    """
    with (where or Where()).open(folder) as (store, project):
        if count:
            show(f"{store.open_audit(project.id, stage, count=count, seed=seed)} images are in the audit")
        told = store.audit(project.id, stage)
    show(f"audited so far: {told.images} images, {told.masks} masks, {told.removed} removed, {told.added} added")
    if told.masks:
        above = f"above 0.90: {told.share_above_90:.0%}, above 0.75: {told.share_above_75:.0%}"
        show(f"IoU before and after: mean {told.mean_iou:.3f}, {above}")
    return 0


@engine.command
def look(folder: Path, /, *, where: Where | None = None) -> int:
    """Let detectors look for faces and plates on every photo. They are weak: a person must look too.

    Args:
        folder: of the data engine.
    """
    from segany.engine.privacy.look import look_for_people

    with (where or Where()).open(folder) as (store, project), Bar("photos") as bar:
        told = look_for_people(store, project.id, progress=bar.update)
    show(f"{told.images} photos looked at by {', '.join(told.detectors)}: {told.regions} new regions to blur")
    say("next: a reviewer looks at each photo on the page, or: segany engine clear")
    return 0


@engine.command
def clear(
    folder: Path,
    /,
    *images: int,
    everything: Annotated[
        bool, Parameter(name="--all", help="All that detectors have looked at.", negative="")
    ] = False,
    withhold: Annotated[str | None, Parameter(help="These must not go out, for this reason.")] = None,
    where: Where | None = None,
) -> int:
    """Say that photos, blurred where they must be, may go out; for what you have looked at yourself.

    Args:
        folder: of the data engine.
        images: their numbers; see --all.
    """
    with (where or Where()).open(folder) as (store, project):
        person = admin_of(store)
        chosen = list(images)
        if everything:
            chosen += [one.id for one in store.next_to_clear(project.id, limit=1_000_000)]
        if not chosen:
            raise OptionError("expected numbers of images, or --all for those that detectors have looked at; got none.")
        for number in dict.fromkeys(chosen):
            if store.image(number).project != project.id:
                raise NotFoundError(
                    f"there must be an image {number} in {project.name}; there is none. Check the number."
                )
            store.clear_image(person, number, verdict="withheld" if withhold else "cleared", reason=withhold or "")
    show(f"{len(set(chosen))} images {'withheld' if withhold else 'cleared'}")
    return 0


@engine.command
def snapshot(
    folder: Path,
    /,
    *,
    stage: Annotated[list[Stage] | None, Parameter(help="Whose masks; may be repeated.", negative="")] = None,
    where: Where | None = None,
) -> int:
    """Write everything accepted as SA-1B shards, training and held-out images apart; named by its content.

    Args:
        folder: of the data engine.
    """
    from segany.engine.snapshot import make_snapshot

    with (where or Where()).open(folder) as (store, project), Bar("images") as bar:
        made = make_snapshot(store, project.id, tuple(stage or ("manual", "semi", "auto")), progress=bar.update)
        place = store.artefact_path(made)
    show(f"{made.images} images, {made.masks} masks: {place}")
    return 0


@engine.command
def release(
    folder: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="New folder of the release.")],
    form: Annotated[Literal["shards", "sa1b"], Parameter(help="Tar shards, or a folder of files.")] = "shards",
    stage: Annotated[list[Stage] | None, Parameter(help="Whose masks; may be repeated.", negative="")] = None,
    shard_images: Annotated[int, Parameter(help="Images per shard, at most.")] = 10_000,
    where: Where | None = None,
) -> int:
    """Write what is accepted and cleared, blurred, checked, with cards, statistics, plots and checksums.

    Args:
        folder: of the data engine.
    """
    from segany.engine.release import ReleaseOptions, make_release

    options = ReleaseOptions(stages=tuple(stage or ("manual", "semi", "auto")), form=form, shard_images=shard_images)
    with (where or Where()).open(folder) as (store, project), Bar("images") as bar:
        made = make_release(store, project.id, output, options=options, progress=bar.update)
    show(f"{made.images} images, {made.masks} masks, SHA-256 {made.sha256}: {output}")
    return 0


def _ratios(work: Any) -> list[str]:
    """Masks per image, clicks and seconds per mask."""
    values = (work.masks_per_image, work.clicks_per_mask, work.seconds_per_mask)
    return ["–" if value is None else f"{value:.1f}" for value in values]


def _settings(path: Path | None) -> Any:
    import json

    from segany.engine.config import ProjectSettings

    if path is None:
        return ProjectSettings()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"--settings must be a JSON file; {path} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise OptionError(f"--settings must hold a JSON object; {path} holds something else. See docs/engine.md.")
    return ProjectSettings.from_json(value)


def _password(name: str) -> str:
    """From the environment, a prompt, or the first line of standard input; never from the command line."""
    given = os.environ.get(PASSWORD)
    if given is None and sys.stdin.isatty():
        given = getpass.getpass(f"password of {name}: ")
        if given != getpass.getpass("again: "):
            raise OptionError("both passwords must be the same; they differ. Try again.")
    elif given is None:
        given = sys.stdin.readline().rstrip("\n")
    if not given:
        raise OptionError(f"expected a password for {name}; got none. Type it, or set {PASSWORD}.")
    return given
