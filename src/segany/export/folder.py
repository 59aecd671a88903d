"""A model → a folder of ONNX files and a manifest that says how to use them.

Every file is run and compared with the model before the folder appears.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segany.core.errors import OptionError, SeganyError
from segany.core.files import atomic_write_json
from segany.core.optional import require
from segany.core.progress import Progress
from segany.export.config import ExportConfig
from segany.export.graph import EXTRA, GraphSpec, write_graph
from segany.export.manifest import MANIFEST, FileEntry, manifest_of
from segany.export.quantise import quantise
from segany.export.specs import decoder_spec, encoder_spec
from segany.export.split import LAYERS, split_specs
from segany.export.verify import Agreement, Bench
from segany.modeling.checkpoints.load import LoadedModel
from segany.modeling.sam import Sam

EXACT = 1e-3
"""Largest relative difference from the model that an exact file may show."""
OWN_FILES = ("*.onnx", "*.onnx.data", MANIFEST)
INT8 = {"encoder": "", "decoder_click": "finer"}
"""Files with an 8-bit copy, and how the weights end that are quantised in them: all, or one matrix."""


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
    specs = specs_of(loaded.model, config)
    notes = [] if len(specs) > 3 else [f"decoder_image and decoder_click need a decoder of {LAYERS} layers; left out."]
    with _appearing(target) as part:
        writer = _Writer(part, config, Bench(loaded.model))
        for number, spec in enumerate(specs, 1):
            writer.add(spec)
            if progress is not None:
                progress(number, len(specs))
        manifest = manifest_of(loaded, config, writer.files, [*notes, *writer.notes])
        atomic_write_json(part / MANIFEST, manifest, indent=1)
    return target / MANIFEST


def specs_of(model: Sam, config: ExportConfig) -> list[GraphSpec]:
    """The files of an export, in the order in which they are written."""
    specs = [encoder_spec(model), decoder_spec(model, config, batch=False), decoder_spec(model, config, batch=True)]
    if len(model.mask_decoder.transformer.layers) == LAYERS:
        specs += split_specs(model, tanh_gelu=not config.exact_click)
    return specs


class _Writer:
    """Writes, measures and describes files, one after the other."""

    def __init__(self, folder: Path, config: ExportConfig, bench: Bench) -> None:
        self.folder, self.config, self.bench = folder, config, bench
        self.files: dict[str, FileEntry] = {}
        self.notes: list[str] = []

    def add(self, spec: GraphSpec) -> None:
        """Write one file, and its 8-bit copy where that is wanted and good."""
        exact = not (self.config.half_weights or (spec.name == "decoder_click" and not self.config.exact_click))
        paths = write_graph(spec, self.folder, self.config.opset, half=self.config.half_weights)
        agreement = self.bench.measure(spec, paths[0], with_masks=not exact)
        if not self._good(agreement, exact=exact):
            raise SeganyError(
                f"{spec.file_name} must compute what the model computes; it differs by "
                f"{agreement.largest_difference:.2g} of the largest value, mask IoU {agreement.mean_mask_iou}. "
                "Nothing was written. Try opset 17 and no other options, or report it with what `segany doctor` says."
            )
        self.files[spec.name] = FileEntry.of(spec, paths, agreement.to_dict())
        if self.config.int8 and spec.name in INT8:
            self._add_int8(spec, paths[0])

    def _add_int8(self, spec: GraphSpec, path: Path) -> None:
        name = f"{spec.name}_int8"
        written = quantise(path, self.folder / f"{name}.onnx", lambda weight: weight.endswith(INT8[spec.name]))
        if not written:
            return
        agreement = self.bench.measure(spec, written[0], with_masks=True)
        if self._good(agreement, exact=False):
            self.files[name] = FileEntry.of(spec, written, agreement.to_dict())
            return
        written[0].unlink()
        self.notes.append(
            f"{name} was left out: its masks agree with the model's at a mean IoU of {agreement.mean_mask_iou:.4f}, "
            f"below {self.config.least_agreement}."
        )

    def _good(self, agreement: Agreement, *, exact: bool) -> bool:
        if exact or agreement.mean_mask_iou is None:
            return agreement.largest_difference <= EXACT
        return agreement.mean_mask_iou >= self.config.least_agreement


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
