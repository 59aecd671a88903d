"""`segany export`: models as files for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from segany.cli.console import Bar, say, show, table

export = App(name="export", help="Write models as files for other programs.", help_format="plaintext")


@export.command
def onnx(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder for the files.")],
    model: Annotated[str, Parameter(help="tiny, vit_b, vit_l, vit_h, vit_t, or the path of a checkpoint.")] = "tiny",
    opset: Annotated[int, Parameter(help="ONNX operator set, 17 to 20.")] = 17,
    single_mask: Annotated[
        bool, Parameter(help="One mask instead of four, chosen by the reference's rule.", negative="")
    ] = False,
    tanh_gelu: Annotated[
        bool, Parameter(help="GELU by its tanh formula, for runtimes slow at erf.", negative="")
    ] = False,
    stability_score: Annotated[
        bool, Parameter(help="Give stability scores in place of the predicted IoU.", negative="")
    ] = False,
    extra_metrics: Annotated[bool, Parameter(help="Also give stability scores and areas.", negative="")] = False,
    int8: Annotated[bool, Parameter(help="Also write 8-bit files where their masks agree.", negative="")] = False,
    half_weights: Annotated[bool, Parameter(help="Store weights as float16: half the download.", negative="")] = False,
    exact_click: Annotated[
        bool, Parameter(help="No approximation in decoder_click, a tenth slower.", negative="")
    ] = False,
    threads: Annotated[int | None, Parameter(help="CPU threads; all cores when left out.")] = None,
) -> int:
    """Encoder, decoders and a manifest, each file compared with the model before it is kept."""
    from segany.export.config import ExportConfig
    from segany.export.folder import export_onnx
    from segany.modeling.checkpoints.load import load_model

    config = ExportConfig(
        opset=opset,
        single_mask=single_mask,
        tanh_gelu=tanh_gelu,
        stability_score=stability_score,
        extra_metrics=extra_metrics,
        int8=int8,
        half_weights=half_weights,
        exact_click=exact_click,
    )
    if threads is not None:
        import torch

        torch.set_num_threads(max(1, threads))
    with Bar("files") as bar:
        manifest = export_onnx(load_model(model), output, config, progress=bar.update)
    content = json.loads(manifest.read_text(encoding="utf-8"))
    rows = []
    for entry in content["files"].values():
        agreement = entry["agreement"]
        size = entry["bytes"] + entry.get("data", {}).get("bytes", 0)
        iou = agreement.get("mean_mask_iou")
        rows.append(
            (
                entry["name"],
                f"{size / 1e6:.1f} MB",
                f"{agreement['largest_difference']:.1e}",
                "" if iou is None else f"{iou:.4f}",
            )
        )
    show(table(("file", "size", "largest difference", "mask IoU"), rows))
    for note in content["notes"]:
        say(note)
    show(str(manifest))
    return 0
