"""What a rehearsal plays with: photos and their truth, simulated people, the yardstick, the check of the release."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.core.files import atomic_write_json
from segany.data.packs import PackImage, iter_pack
from segany.data.photo_sets import packs_in
from segany.engine.config import ProjectSettings
from segany.evaluation.sampling import SampleConfig
from segany.masks.rle import decode, rle_area
from segany.recipes.engine_human import HumanConfig, truth_of
from segany.recipes.engine_simulated import Login, Truth
from segany.recipes.finetune_scores import HeldOutLook

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.modeling.sam import Sam
    from segany.recipes.engine_rehearse import RehearseConfig

MEASURED_IMAGES, MEASURED_MASKS = 60, 8


def choose_photos(
    store: Store, data: Path, out: Path, settings: ProjectSettings, config: RehearseConfig
) -> dict[str, Any]:
    """Take photos of the packs' training part in, with a project for them; OUT/truth.json says what is on them.

    Where several people marked a photo, the truth is the first one's: an annotator of the loop is one person.

    Raises:
        DataError: too few photos with large enough masks.
    """
    wanted = sum(config.images)
    name = f"rehearsal {hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:8]}"
    known = [one for one in store.projects() if one.name == name]
    project = known[0].id if known else store.create_project(name, settings=settings).id
    truth: dict[str, list[dict[str, Any]]] = {}
    order: list[int] = []
    for image, rles in _drawn(data, config):
        kept = store.add_image(project, image.path.name, image.path.read_bytes())
        if kept.sha256 in truth:
            continue
        truth[kept.sha256] = rles
        order.append(kept.id)
        if len(order) == wanted:
            break
    if len(order) < wanted:
        raise DataError(
            f"the rehearsal needs {wanted} photos with masks; the training parts of {', '.join(config.packs)} in "
            f"{data} have {len(order)}. Ask for fewer with --images."
        )
    atomic_write_json(out / "truth.json", truth)
    ends = list(itertools.accumulate(config.images))
    parts = [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return {"project": project, "images": parts, "masks": sum(len(one) for one in truth.values())}


def _drawn(data: Path, config: RehearseConfig) -> Iterator[tuple[PackImage, list[dict[str, Any]]]]:
    """Photos of all packs in turn, each pack's in an order drawn once, with their truth."""
    there = [name for name in config.packs if name in packs_in(data)]
    if not there:
        raise DataError(f"the rehearsal needs one of the packs {', '.join(config.packs)} in {data}; there is none.")
    rng = np.random.default_rng(config.seed)
    queues = []
    for name in there:
        images = list(iter_pack(name, data, "train"))
        queues.append([images[i] for i in rng.permutation(len(images))])
    for round_ in itertools.zip_longest(*queues):
        for image in round_:
            if image is not None and (rles := _truth(image, config.human)):
                yield image, rles


def _truth(image: PackImage, human: HumanConfig) -> list[dict[str, Any]]:
    groups = image.mask_groups()
    if not groups or not groups[0]:
        return []
    least = human.least_share * groups[0][0].size
    return truth_of([mask for mask in groups[0] if mask.sum() >= least])


def add_people(store: Store, project: int, annotators: int) -> tuple[list[Login], Login]:
    """Simulated people with passwords nobody knows, new ones for each start of a rehearsal.

    Returns:
        annotators, and one who reviews and runs things.
    """
    known = {one.name: one.id for one in store.users()}
    logins = []
    for number in range(annotators + 1):
        reviews = number == annotators
        name = f"simulated {'reviewer' if reviews else f'annotator {number + 1}'} of {project}"
        password = secrets.token_urlsafe(16)
        if name in known:
            store.change_user(known[name], password=password)
        else:
            store.add_user(name, password, "admin" if reviews else "annotator", simulated=True)
        logins.append(Login(name=name, password=password))
    return logins[:-1], logins[-1]


@dataclass(frozen=True)
class _TruthPhoto:
    """A photo of the store with the data set's own masks."""

    key: str
    path: Path
    rles: Sequence[Mapping[str, Any]]
    pack: str = "truth"

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        from segany.transforms.image import read_image

        return np.asarray(read_image(self.path), np.uint8)

    def masks(self, min_area: int = 1) -> list[NDArray[np.bool_]]:
        """(H, W) boolean masks of at least so many pixels."""
        return [decode(rle) for rle in self.rles if rle_area(rle) >= min_area]


class Yardstick:
    """One-click mIoU against the data sets' own masks, on the project's photos that never train: the same photos and
    masks for every round, whatever people did.

    Args:
        store: with the photos.
        project: whose.
        truth: what is on them.
    """

    def __init__(self, store: Store, project: int, truth: Truth) -> None:
        held = [one for one in store.images(project) if one.held_out]
        self._photos = [_TruthPhoto(one.sha256, store.image_path(one), truth[one.sha256]) for one in held]
        self.about: dict[str, Any] = {"images": min(len(held), MEASURED_IMAGES), "masks_per_image": MEASURED_MASKS}

    def measure(self, model: Sam) -> float:
        """The mean.

        Raises:
            DataError: no photo is held out.
        """
        if not self._photos:
            raise DataError("none of the photos is held out, so nothing can be measured. Rehearse with more photos.")
        sample = SampleConfig(masks_per_image=MEASURED_MASKS, images_per_pack=MEASURED_IMAGES)
        rows = HeldOutLook(self._photos, sample).rows(model, torch.device("cpu"))
        self.about["masks"] = len(rows)
        return round(float(np.mean([row.scores["clicks_1"] for row in rows])), 4)


def check_release(folder: Path) -> dict[str, Any]:
    """Read a release of shards as others would: `webdataset` for the tars, `pycocotools` for the masks.

    Returns:
        How many photos and masks were read, and whether by webdataset; where it is not installed, our own reader.

    Raises:
        DataError: a photo or a mask does not fit its annotation.
    """
    images, masks, reader = 0, 0, ""
    for told, size, by in _samples(folder):
        image = told["image"]
        if size != (image["width"], image["height"]):
            raise DataError(f"photo {image['file_name']} must be {image['width']} x {image['height']}; it is {size}.")
        for one in told["annotations"]:
            if int(np.count_nonzero(decode(one["segmentation"]))) != one["area"]:
                raise DataError(f"a mask of {image['file_name']} must have {one['area']} pixels; it has others.")
        images, masks, reader = images + 1, masks + len(told["annotations"]), by
    return {"read_images": images, "read_masks": masks, "read_by": reader}


def _samples(folder: Path) -> Iterator[tuple[dict[str, Any], tuple[int, int], str]]:
    from PIL import Image as Picture

    try:
        import webdataset
    except ImportError:
        from segany.data.open import open_source
        from segany.records.sa1b import to_sa1b

        for sample in open_source(folder):
            height, width = sample.load_rgb().shape[:2]
            yield to_sa1b(sample.record), (width, height), "segany"
        return
    shards = sorted(str(path) for path in folder.glob("*.tar"))
    for row in webdataset.WebDataset(shards, shardshuffle=False):
        yield json.loads(row["json"]), Picture.open(io.BytesIO(row["jpg"])).size, "webdataset"
