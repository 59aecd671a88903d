"""A module and the names of its tensors → one checked ONNX file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segany.core.optional import require

EXTRA = "export"
LARGEST_SINGLE_FILE = 1_800_000_000
"""Bytes of weights above which they go into a file of their own: one ONNX file holds at most 2 GB."""

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class TensorSpec:
    """Name and shape of an input or output; a text stands for a size that callers choose."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class GraphSpec:
    """One file to be written.

    Attributes:
        name: key in the manifest; the file is `{name}.onnx`.
        module: what it computes; called with the inputs in order, returns the outputs in order.
        inputs, outputs: float32 tensors.
        example: inputs to trace the module with; sizes that callers choose should be above 1.
        about: one sentence for the manifest.
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    example: tuple[Tensor, ...]
    about: str

    @property
    def file_name(self) -> str:
        return f"{self.name}.onnx"


def weight_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def write_graph(spec: GraphSpec, folder: Path, opset: int, *, half: bool = False) -> list[Path]:
    """Trace a module and write it.

    Args:
        spec: what to write.
        folder: an existing folder.
        opset: ONNX operator set.
        half: store large weights as float16.

    Returns:
        the file, and the file of its weights when they are too large for one.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    onnx = require("onnx", EXTRA)
    path = folder / spec.file_name
    traced = folder / f"{spec.name}.traced.onnx"
    _trace(spec, traced, opset)
    proto = onnx.load(str(traced))
    for leftover in folder.glob(f"{spec.name}.traced*"):
        leftover.unlink()
    _name_shapes(proto, spec)
    if half:
        narrow_weights(proto)
    return save(proto, path)


def _trace(spec: GraphSpec, path: Path, opset: int) -> None:
    dynamic = {
        tensor.name: axes
        for tensor in (*spec.inputs, *spec.outputs)
        if (axes := {axis: size for axis, size in enumerate(tensor.shape) if isinstance(size, str)})
    }
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer's own remarks about itself: the files are compared with the module afterwards.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            spec.module.eval(),
            spec.example,
            str(path),
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_axes=dynamic,
            opset_version=opset,
            dynamo=False,
        )


def _name_shapes(proto: Any, spec: GraphSpec) -> None:
    """Write the promised shapes over whatever the tracer could infer."""
    for values, tensors in ((proto.graph.input, spec.inputs), (proto.graph.output, spec.outputs)):
        by_name = {value.name: value for value in values}
        for tensor in tensors:
            shape = by_name[tensor.name].type.tensor_type.shape
            del shape.dim[:]
            for size in tensor.shape:
                dim = shape.dim.add()
                if isinstance(size, str):
                    dim.dim_param = size
                else:
                    dim.dim_value = size


NARROWED_FROM = 1024
"""Elements from which a weight is stored as float16."""


def narrow_weights(proto: Any) -> None:
    """Store large float32 weights as float16, each followed by a cast that runtimes fold away on loading."""
    onnx = require("onnx", EXTRA)
    numpy_helper = require("onnx.numpy_helper", EXTRA)
    float32, float16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    casts = []
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != float32 or values.size < NARROWED_FROM:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}.half"))
        assert tensor.data_type == float16
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], name=f"widen.{name}", to=float32))
    for place, node in enumerate(casts):
        proto.graph.node.insert(place, node)


def save(proto: Any, path: Path) -> list[Path]:
    """Write a checked model; weights too large for one file go beside it, into `{name}.onnx.data`."""
    onnx = require("onnx", EXTRA)
    size = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    if size <= LARGEST_SINGLE_FILE:
        onnx.checker.check_model(proto, full_check=True)
        onnx.save_model(proto, str(path))
        return [path]
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)
    onnx.save_model(proto, str(path), save_as_external_data=True, location=data.name, size_threshold=NARROWED_FROM)
    onnx.checker.check_model(str(path))
    return [path, data]


def open_session(path: str | Path, *, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    ort = require("onnxruntime", EXTRA)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Tensors in the order of the session's inputs → tensors in the order of its outputs."""
    feed = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), inputs, strict=True)}
    return [torch.from_numpy(array) for array in session.run(None, feed)]
