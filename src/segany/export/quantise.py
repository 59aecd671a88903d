"""8-bit copies of written files: weights stored as bytes, activations measured on the fly."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segany.core.optional import require
from segany.export.graph import EXTRA


def matrix_products(proto: Any, chosen: Callable[[str], bool]) -> list[str]:
    """Names of the nodes that multiply by a constant matrix whose name is chosen."""
    matrices = {tensor.name for tensor in proto.graph.initializer if len(tensor.dims) == 2}
    return [
        node.name
        for node in proto.graph.node
        if node.op_type == "MatMul" and node.input[1] in matrices and chosen(node.input[1])
    ]


def quantise(source: Path, target: Path, chosen: Callable[[str], bool] = lambda _: True) -> list[Path]:
    """Write a copy whose matrix products work in 8 bits; everything else stays float32.

    One scale per matrix: runtimes for browsers are several times slower with one per column.

    Args:
        source: a float32 file.
        target: to be written.
        chosen: which matrices, by the name of the weight.

    Returns:
        the written file; empty when there is nothing to quantise.
    """
    onnx, quantization = require("onnx", EXTRA), require("onnxruntime.quantization", EXTRA)
    nodes = matrix_products(onnx.load(str(source), load_external_data=False), chosen)
    if not nodes:
        return []
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)  # it recommends a preprocessing that changes nothing here
    try:
        quantization.quantize_dynamic(
            str(source), str(target), weight_type=quantization.QuantType.QUInt8, nodes_to_quantize=nodes
        )
    finally:
        root.setLevel(level)
    return [target]
