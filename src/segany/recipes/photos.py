"""The photos a training was told to draw from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from segany.core.files import cache_dir
from segany.core.identity import fingerprint
from segany.data.photo_sets import PhotoSet, cached_packs, packs_in
from segany.training.distributed import Processes


def gathered_photos(
    data: Sequence[Path], cache: Path | None, group: Processes, other: Callable[[Path], PhotoSet]
) -> tuple[list[PhotoSet], list[PhotoSet]]:
    """Photos to train on, and photos to watch.

    Args:
        data: folders with packs (their held-out part stays out; a few photos are kept to watch), or anything else.
        cache: folder of decoded packs; one in the user's cache folder when left out. The main process decodes what is
            not there yet.
        group: the processes of this training.
        other: opens what is no folder with packs.
    """
    drawn: list[PhotoSet] = []
    watched: list[PhotoSet] = []
    for folder in data:
        if packs_in(folder):
            place = cache or cache_dir() / "photos" / fingerprint({"root": str(folder.resolve())})[:16]
            if group.is_main:
                cached_packs(folder, place)
            group.wait()
            training, kept = cached_packs(folder, place)
            drawn, watched = [*drawn, *training], [*watched, *kept]
        else:
            drawn.append(other(folder))
    return drawn, watched
