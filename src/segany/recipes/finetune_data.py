"""One's own photos for fine-tuning: COCO JSON in, a part to train on and a part held out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.core.files import atomic_write_json, sha256_file
from segany.core.identity import fingerprint
from segany.core.progress import Progress
from segany.data.cache import INDEX, PhotoCache, build_cache
from segany.data.coco import CocoDataset
from segany.data.photo_sets import CachedSet, PhotoSet, SampleSet
from segany.data.sample import Sample
from segany.data.synthetic import synthetic_scene
from segany.masks.rle import encode
from segany.pictures.save import save_picture
from segany.recipes.finetune_config import FinetuneConfig

NAME = "yours"


@dataclass(frozen=True)
class OwnPhoto:
    """A photo with masks, as the photo cache and the evaluation take them."""

    sample: Sample
    folder: Path

    @property
    def pack(self) -> str:
        return NAME

    @property
    def key(self) -> str:
        return self.sample.key

    @property
    def path(self) -> Path:
        return self.folder / self.sample.file_name

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        return self.sample.load_rgb()

    def masks(self, min_area: int = 1) -> list[NDArray[np.bool_]]:
        """(H, W) boolean masks of at least so many pixels."""
        sample = self.sample
        every = (sample.mask(index) for index in range(len(sample.rles)))
        return [mask for mask in every if int(mask.sum()) >= min_area]


@dataclass(frozen=True)
class _Chosen:
    """Some photos of a COCO file, as a source of its own."""

    dataset: CocoDataset
    indices: tuple[int, ...]
    name: str = NAME
    missing: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.indices[index]]

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class OwnData:
    """What a person gave.

    Attributes:
        training: photos to learn from.
        heldout: photos that never train.
        watched: the same, as training draws photos, for pictures.
        masks: annotations in all.
        missing: photos that the file lists and the folder has not.
        fingerprint: of the annotation file and of which photos are there.
    """

    training: PhotoSet
    heldout: list[OwnPhoto]
    watched: PhotoSet
    masks: int
    missing: tuple[str, ...]
    fingerprint: str


def split(keys: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Positions to train on and positions held out: by the names alone, whatever their order.

    Args:
        keys: names, at least two.
        share: held out, rounded up; at least one photo stays on either side.
    """
    order = sorted(range(len(keys)), key=lambda i: hashlib.sha1(f"heldout/{keys[i]}".encode()).hexdigest())
    count = min(len(keys) - 1, max(1, ceil(share * len(keys))))
    return sorted(order[count:]), sorted(order[:count])


def own_data(
    images: Path,
    annotations: Path,
    config: FinetuneConfig,
    *,
    canvas: int,
    cache: Path,
    decodes: bool = True,
    together: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> OwnData:
    """Read a COCO file and split its photos.

    Args:
        images: folder of the photos.
        annotations: COCO JSON; crowd regions are left out, categories do not matter.
        config: shares and limits.
        canvas: the model's; photos are kept no larger.
        cache: where decoded photos go.
        decodes: whether this process decodes what is not there yet.
        together: called between decoding and reading, for other processes to wait.
        progress: told (photos decoded, photos in all).

    Raises:
        DataError: fewer than two photos with masks.
    """
    dataset = CocoDataset(annotations, images=images, name=NAME)
    labelled = [(index, sample) for index, sample in enumerate(dataset) if len(sample.rles)]
    if len(labelled) < 2:
        raise DataError(
            f"fine-tuning needs two photos with masks or more, one to learn from and one to measure on; {annotations} "
            f"with the photos in {images} has {len(labelled)}. {len(dataset.missing)} listed photos are not there. "
            "Annotate more, or check --images."
        )
    keys = [sample.key for _, sample in labelled]
    train, heldout = split(keys, config.heldout_share)
    identity = fingerprint({"annotations": sha256_file(annotations), "keys": keys})
    chosen = _Chosen(dataset, tuple(labelled[i][0] for i in train))
    if len(chosen) > config.decoded_once:
        training: PhotoSet = SampleSet(chosen, False, identity)
    else:
        place = cache / f"photos-{fingerprint({'data': identity, 'canvas': canvas, 'train': train})[:16]}"
        if decodes and not (place / INDEX).is_file():
            photos = _told([OwnPhoto(sample, images) for sample in chosen], progress)
            build_cache(place, photos, longest_side=canvas, min_share=config.batch.min_share)
        together()
        kept = PhotoCache(place)
        training = CachedSet(NAME, kept, kept.photos)
    if not len(training):
        raise DataError(
            f"every mask of the photos to learn from is smaller than {config.batch.min_share:g} of its photo. "
            "Lower batch.min_share with --config."
        )
    return OwnData(
        training,
        [OwnPhoto(labelled[i][1], images) for i in heldout],
        SampleSet(_Chosen(dataset, tuple(labelled[i][0] for i in heldout), "heldout"), False, identity),
        sum(len(sample.rles) for _, sample in labelled),
        dataset.missing,
        identity,
    )


def painted_coco(folder: Path, count: int, side: int) -> tuple[Path, Path]:
    """Painted scenes as a person would bring them: a folder of photos and a COCO file; for trying out.

    Args:
        folder: where both go.
        count: scenes.
        side: of each, pixels.
    """
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        scene = synthetic_scene(np.random.default_rng(number), side)
        name = f"scene-{number}.png"
        save_picture(folder / "images" / name, scene.rgb)
        listed.append({"id": number, "file_name": name, "height": side, "width": side})
        for mask in scene.masks:
            known = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            annotations.append(known | {"segmentation": encode(mask), "area": int(mask.sum())})
    path = folder / "annotations.json"
    categories = [{"id": 1, "name": "shape"}]
    atomic_write_json(path, {"images": listed, "annotations": annotations, "categories": categories})
    return folder / "images", path


def _told(photos: Sequence[OwnPhoto], progress: Progress | None) -> Iterator[OwnPhoto]:
    for number, photo in enumerate(photos, 1):
        yield photo
        if progress is not None:
            progress(number, len(photos))
