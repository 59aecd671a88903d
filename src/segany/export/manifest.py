"""`manifest.json`: what is in an export's folder and how a program uses it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segany.core.files import sha256_file
from segany.export.config import ExportConfig
from segany.export.graph import GraphSpec, TensorSpec
from segany.modeling.checkpoints.load import LoadedModel

FORMAT = "segany-onnx 1"
MANIFEST = "manifest.json"
FRAME = {
    "rule": "longest side to canvas, size int(old*scale+0.5), zero-padded right and bottom after normalisation",
    "resize": "bilinear, antialiased (Pillow)",
    "points": "x, y in canvas pixels: original pixels times resized side over original side, per axis",
}


@dataclass(frozen=True)
class FileEntry:
    """A manifest's line about one file."""

    name: str
    sha256: str
    bytes: int
    inputs: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]
    about: str
    agreement: Mapping[str, float | int]
    """With the model in torch, on real photos; see `verify.Agreement`."""
    data: Mapping[str, Any] | None = None
    """The file of weights beside it, where one file cannot hold them."""

    @classmethod
    def of(cls, spec: GraphSpec, paths: Sequence[Path], agreement: Mapping[str, float | int]) -> FileEntry:
        """Hash and measure written files: the graph, then the file of its weights if there is one."""
        path, *data = paths
        return cls(
            **_identity(path),
            inputs=[_tensor(tensor) for tensor in spec.inputs],
            outputs=[_tensor(tensor) for tensor in spec.outputs],
            about=spec.about,
            agreement=dict(agreement),
            data=_identity(data[0]) if data else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def _identity(path: Path) -> dict[str, Any]:
    return {"name": path.name, "sha256": sha256_file(path), "bytes": path.stat().st_size}


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "type": "float32", "shape": list(tensor.shape)}


def manifest_of(
    loaded: LoadedModel, config: ExportConfig, files: Mapping[str, FileEntry], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The whole manifest, JSON-ready."""
    model = loaded.config
    return {
        "format": FORMAT,
        "model": model.name,
        "fingerprint": loaded.fingerprint,
        "canvas": model.canvas,
        "low_res": model.low_res,
        "embedding": {"channels": model.channels, "grid": model.grid},
        "pixel_mean": list(model.pixel_mean),
        "pixel_std": list(model.pixel_std),
        "mask_threshold": model.mask_threshold,
        "multimask_outputs": model.decoder.multimask_outputs,
        "automatic": json.loads(loaded.metadata.get("automatic", "{}")),
        "frame": FRAME,
        "options": asdict(config),
        "notes": list(notes),
        "files": {name: entry.to_dict() for name, entry in files.items()},
    }
