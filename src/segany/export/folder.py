"""A model → a folder of ONNX files and a manifest that says how to use them.

Every file is run and compared with the model before the folder appears.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from segany.core.errors import OptionError, SeganyError
from segany.core.files import atomic_write_json
from segany.core.optional import require
from segany.core.progress import Progress
from segany.export.config import ExportConfig
from segany.export.graph import EXTRA, GraphSpec, open_session, run_session, write_graph
from segany.export.manifest import MANIFEST, FileEntry, manifest_of
from segany.export.specs import decoder_spec, encoder_spec
from segany.export.verify import (
    Agreement,
    Answer,
    Case,
    Photo,
    as_batch,
    compare_embeddings,
    compare_masks,
    look_at_photos,
    prompt_cases,
)
from segany.modeling.checkpoints.load import LoadedModel

EXACT = 1e-3
"""Largest relative difference from the model that a float32 file may show."""
OWN_FILES = ("*.onnx", "*.onnx.data", MANIFEST)


def export_onnx(
    loaded: LoadedModel, folder: str | Path, config: ExportConfig | None = None, *, progress: Progress | None = None
) -> Path:
    """Write a model's ONNX files.

    Args:
        loaded: from `modeling.checkpoints.load.load_model`.
        folder: made when missing; an earlier export in it is replaced, anything else is refused.
        config: knobs.
        progress: told about finished files.

    Returns:
        the manifest.

    Raises:
        OptionError: the folder holds something that is not an export.
        MissingDependencyError: onnx or onnxruntime is not installed.
        SeganyError: a written file does not compute what the model computes; nothing is left behind.
    """
    config = config or ExportConfig()
    for library in ("onnx", "onnxruntime"):
        require(library, EXTRA)
    target = Path(folder)
    _refuse_foreign(target)
    model = loaded.model
    photos = look_at_photos(model)
    cases = prompt_cases(model, photos)
    specs = [encoder_spec(model), decoder_spec(model, config, batch=False), decoder_spec(model, config, batch=True)]
    files: dict[str, FileEntry] = {}
    with _appearing(target) as part:
        for number, spec in enumerate(specs, 1):
            paths = write_graph(spec, part, config.opset, half=config.half_weights)
            agreement = measure(spec, paths[0], photos, cases, model.mask_threshold)
            _insist(spec, agreement, config)
            files[spec.name] = FileEntry.of(spec, paths, agreement.to_dict())
            if progress is not None:
                progress(number, len(specs))
        atomic_write_json(part / MANIFEST, manifest_of(loaded, config, files), indent=1)
    return target / MANIFEST


def measure(spec: GraphSpec, path: Path, photos: Sequence[Photo], cases: Sequence[Case], threshold: float) -> Agreement:
    """Run a written file on real photos and compare with what it was made from."""
    session = open_session(path)
    if spec.name.startswith("encoder"):
        return compare_embeddings(photos, lambda pixels: run_session(session, [pixels])[0])
    groups = [[case] for case in cases]
    if spec.name.startswith("decoder_batch"):
        groups = [list(group) for _, group in groupby(cases, key=lambda case: id(case.photo))]
    return compare_masks(
        ((_answer(run_session(session, _decoder_feed(group))), _one_by_one(spec, group)) for group in groups),
        threshold,
    )


def _decoder_feed(group: Sequence[Case]) -> list[Tensor]:
    photo = group[0].photo
    return [photo.embedding, *as_batch(group), torch.tensor(photo.frame.original_hw, dtype=torch.float32)]


def _answer(outputs: Sequence[Tensor]) -> Answer:
    return outputs[-1], outputs[1]


def _one_by_one(spec: GraphSpec, group: Sequence[Case]) -> Answer:
    """What the traced module itself says of each case alone."""
    with torch.no_grad():
        answers = [_answer(spec.module(*_decoder_feed([case]))) for case in group]
    return torch.cat([masks for masks, _ in answers]), torch.cat([scores for _, scores in answers])


def _insist(spec: GraphSpec, agreement: Agreement, config: ExportConfig) -> None:
    if config.half_weights:
        wrong = not (agreement.mean_mask_iou is None or agreement.mean_mask_iou >= config.int8_agreement)
    else:
        wrong = not agreement.largest_difference <= EXACT
    if wrong:
        raise SeganyError(
            f"{spec.file_name} must compute what the model computes; it differs by "
            f"{agreement.largest_difference:.2g} of the largest value, mask IoU {agreement.mean_mask_iou}. "
            "Nothing was written. Try another opset, or tell the maintainers with the versions `segany doctor` shows."
        )


def _refuse_foreign(target: Path) -> None:
    if target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise OptionError(
            f"an export needs a new or empty folder, or one that holds an earlier export; {target} holds other "
            "files. Name another folder."
        )
    if target.exists() and not target.is_dir():
        raise OptionError(f"an export needs a folder; {target} is a file. Name another one.")


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder beside `target` whose files move there on success and vanish on any error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    part.mkdir()
    try:
        yield part
        if not target.exists():
            os.replace(part, target)
            return
        for pattern in reversed(OWN_FILES):  # the manifest goes first and comes last
            for old in target.glob(pattern):
                old.unlink()
        for new in sorted(part.iterdir(), key=lambda path: path.name == MANIFEST):
            os.replace(new, target / new.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
