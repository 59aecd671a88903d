"""`segany doctor`: what is here, what is missing, what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata

from segany.cli.console import show

BASE = (
    "numpy",
    "torch",
    "safetensors",
    "pillow",
    "opencv-python-headless",
    "scipy",
    "scikit-image",
    "pycocotools",
    "matplotlib",
    "cyclopts",
    "rich",
)
EXTRAS = {
    "train": ("accelerate", "tensorboard"),
    "data": ("faster-coco-eval", "pyarrow", "fsspec"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "serve": ("fastapi", "uvicorn", "sqlalchemy"),
    "batch": ("ray",),
    "text": ("transformers",),
}


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: str
    trouble: bool = False
    """Something that stops the program from working."""


def doctor() -> int:
    """Look at this machine and say what works, what is missing, and what to do about it."""
    findings = [*machine(), *libraries(), *torch_state(), *torchvision_state(), *weights(), *trial()]
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "!!" if finding.trouble else "  "
        show(f"{mark} {finding.name.ljust(width)}  {finding.state}")
    troubles = [finding.name for finding in findings if finding.trouble]
    show("" if troubles else "\neverything needed is here")
    if troubles:
        show(f"needs attention: {', '.join(troubles)}")
    return 1 if troubles else 0


def machine() -> list[Finding]:
    """Program, Python, system."""
    from segany import __version__

    return [
        Finding("segany", __version__),
        Finding("python", f"{platform.python_version()} ({sys.executable})"),
        Finding("system", f"{platform.platform()}, {os.cpu_count()} cores"),
    ]


def installed(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def libraries() -> list[Finding]:
    """Base libraries one by one, extras as wholes."""
    found = []
    for name in BASE:
        version = installed(name)
        found.append(Finding(name, version or "missing: pip install segany", trouble=version is None))
    for extra, names in EXTRAS.items():
        missing = [name for name in names if installed(name) is None]
        state = "ready" if not missing else f"not installed; if you want it: pip install 'segany[{extra}]'"
        found.append(Finding(f"extra {extra}", state))
    return found


def torch_state() -> list[Finding]:
    """Whether torch imports, and what it can run on."""
    try:
        import torch
    except Exception as error:  # a broken native library fails in many ways
        return [Finding("torch import", f"fails: {error}. Reinstall it: pip install --force-reinstall torch", True)]
    devices = ["cpu"]
    devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [
        Finding("devices", ", ".join(devices)),
        Finding("threads", f"{torch.get_num_threads()}; choose with --threads"),
        Finding("precision", precision()),
    ]


def precision() -> str:
    """What `--dtype auto` means here, and why."""
    from segany.core.bfloat16 import WORTH_IT, bfloat16_speedup
    from segany.core.device import DTYPE_VARIABLE, resolve_device, resolve_dtype
    from segany.core.errors import OptionError

    device = resolve_device()
    try:
        chosen = str(resolve_dtype("auto", device)).removeprefix("torch.")
    except OptionError as error:
        return str(error)
    if os.environ.get(DTYPE_VARIABLE, "auto") != "auto":
        return f"auto is {chosen}, which {DTYPE_VARIABLE} says; choose with --dtype"
    if device.type != "cpu":
        return f"auto is {chosen} on {device}; choose with --dtype"
    speedup = f"matrix products are {bfloat16_speedup():.1f} times as fast in bfloat16 as in float32"
    return f"auto is {chosen}: {speedup} ({WORTH_IT} needed); choose with --dtype"


def torchvision_state() -> list[Finding]:
    """A torchvision that does not fit torch breaks other libraries as soon as they look for it."""
    if importlib.util.find_spec("torchvision") is None:
        return []
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        state = f"installed but does not import ({error}). segany does not need it: pip uninstall torchvision"
        return [Finding("torchvision", state, trouble=True)]
    return [Finding("torchvision", f"{installed('torchvision')} (not needed)")]


def weights() -> list[Finding]:
    """The embedded model and downloaded ones."""
    from segany.modeling.checkpoints.download import REGISTRY, cached_path
    from segany.modeling.checkpoints.load import EMBEDDED

    if EMBEDDED.is_file():
        found = [Finding("model tiny", f"inside the package, {EMBEDDED.stat().st_size / 1e6:.1f} MB")]
    else:
        found = [Finding("model tiny", f"missing at {EMBEDDED}. Install the package again", trouble=True)]
    for name in REGISTRY:
        path = cached_path(name)
        state = f"at {path}" if path.is_file() else f"not downloaded; if you want it: segany models download {name}"
        found.append(Finding(f"model {name}", state))
    return found


def trial() -> list[Finding]:
    """Segment a drawn disc with the embedded model, to see the whole path work."""
    try:
        import numpy as np

        from segany.predict.predictor import Predictor

        rows, columns = np.mgrid[:96, :128]
        disc = (rows - 48) ** 2 + (columns - 64) ** 2 < 30**2
        rgb = np.where(disc[..., None], [200, 60, 40], [60, 90, 120]).astype(np.uint8)
        predictor = Predictor.from_pretrained("tiny", device="cpu")
        result = predictor.decode(predictor.encode(rgb), points=[(64, 48)], labels=[1])
        mask = np.asarray(result.masks[result.best], dtype=bool)
        overlap = (mask & disc).sum() / max(1, (mask | disc).sum())
    except Exception as error:  # whatever is broken, the report goes on
        return [Finding("trial", f"fails: {error}", trouble=True)]
    return [Finding("trial", f"a click on a drawn disc found it with an overlap of {overlap:.2f}")]
