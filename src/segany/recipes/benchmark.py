"""How fast and how large everything is on this machine, beside what the machine could do and what others do.

P prompts · S canvas side · H, W photo
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.core.errors import OptionError, SeganyError
from segany.core.optional import require
from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_hf, save_model
from segany.modeling.config import ViTConfig
from segany.modeling.presets import PRESETS
from segany.modeling.sam import Sam
from segany.pictures.save import save_picture
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.predictor import Predictor
from segany.recipes.benchmark_report import OURS
from segany.recipes.operations import decoder_operations, encoder_operations
from segany.recipes.timing import PRODUCT, Timing, interleaved, machine, matrix_products, peak_bytes, rates, timed
from segany.transforms.image import read_image
from segany.transforms.resize import ImageTransform, resize_longest_side

FORMAT = "segany-benchmark 1"
WHAT = ("encode", "decode", "everything", "memory", "cold-start")
OTHERS = ("transformers",)
PROMPTS = (1, 64)
"""Numbers of clicks that are decoded at once."""
Rgb = NDArray[np.uint8]
Note = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is measured, and how often."""

    model: str = "tiny"
    """Name or path of the model; ignored with random weights."""
    random_weights: str | None = None
    """Name of a model that gets random weights: as fast as trained ones, and there without a download."""
    photo: Path | None = None
    """The photo; a sheet of demonstration photos, 1800 × 1200, when left out."""
    what: tuple[str, ...] = WHAT
    """Parts to measure, any of encode, decode, everything, memory, cold-start."""
    against: tuple[str, ...] = ()
    """Libraries to compare with, same weights, same photo, in turn: transformers."""
    repeats: int = 5
    """Rounds; medians are reported."""
    points_per_side: int = 32
    """Clicks along each edge for everything and memory."""
    seed: int = 0
    """Of random weights and of the clicks."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """How the predictor is made: device, dtype, threads and so on."""

    def __post_init__(self) -> None:
        for name, chosen, known in (("--what", self.what, WHAT), ("--against", self.against, OTHERS)):
            if wrong := [item for item in chosen if item not in known]:
                raise OptionError(f"{name} takes {', '.join(known)}; got {', '.join(wrong)}. Separate them by commas.")
        if not self.what:
            raise OptionError(f"--what needs at least one of {', '.join(WHAT)}; got none.")
        if self.random_weights is not None and self.random_weights not in PRESETS:
            raise OptionError(f"--random-weights takes {', '.join(PRESETS)}; got {self.random_weights!r}.")
        if self.repeats < 1:
            raise OptionError(f"--repeats must be at least 1; got {self.repeats}.")
        if self.points_per_side < 1:
            raise OptionError(f"--points-per-side must be at least 1; got {self.points_per_side}.")


def random_model(name: str, seed: int = 0) -> Sam:
    """A model with random weights, for measuring alone."""
    torch.manual_seed(seed)
    return build_model(PRESETS[name]).eval()


def demo_sheet() -> Rgb:
    """(1200, 1800, 3): six photos of scikit-image's wheel side by side, a large photo that is there everywhere."""
    import skimage.data

    names = ("astronaut", "chelsea", "coffee", "rocket", "coins", "stereo_motorcycle")
    tiles = []
    for name in names:
        loaded = getattr(skimage.data, name)()
        rgb = read_image(loaded[0] if isinstance(loaded, tuple) else loaded)
        side = min(rgb.shape[:2])
        top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
        tiles.append(resize_longest_side(np.ascontiguousarray(rgb[top : top + side, left : left + side]), 600))
    return np.concatenate([np.concatenate(tiles[:3], axis=1), np.concatenate(tiles[3:], axis=1)])


def measure(config: BenchmarkConfig, note: Note | None = None) -> dict[str, Any]:
    """Everything the config asks for, as a JSON-ready report.

    Args:
        config: see there.
        note: told what is going on.

    Raises:
        OptionError: a comparison that cannot be made.
        CheckpointError, ImageError: no such model or photo.
        MissingDependencyError: a library to compare with is not installed.
    """
    note = note or (lambda text: None)
    before = machine()
    with TemporaryDirectory(prefix="segany-benchmark-") as scratch:
        bench = Bench.of(config, Path(scratch))
        report: dict[str, Any] = {
            "format": FORMAT,
            "model": bench.about(),
            "photo": {"name": bench.photo_name, "size_hw": list(bench.rgb.shape[:2])},
            "repeats": config.repeats,
            "rates": {},
            "results": [],
        }
        if {"encode", "decode"} & set(config.what):
            report |= bench.model_parts(note)
        if "everything" in config.what:
            report["results"] += bench.everything(note)
        if "memory" in config.what:
            report["memory"] = bench.memory(note)
        if "cold-start" in config.what:
            report["results"] += bench.cold_start(note)
    report["machine"] = {**machine(), "load_average_before": before["load_average"]}
    return report


@dataclass
class Bench:
    """One model, one photo, and what is measured with them."""

    config: BenchmarkConfig
    scratch: Path
    model: Sam
    """float32, as loaded; what others are filled from."""
    predictor: Predictor
    source: str
    """Name or path that a process of its own loads the model from; empty for random weights not yet written."""
    rgb: Rgb
    photo_name: str

    @classmethod
    def of(cls, config: BenchmarkConfig, scratch: Path) -> Bench:
        """Load the model and the photo."""
        if config.random_weights is None:
            loaded = load_model(config.model)
            model, source, fingerprint, metadata = loaded.model, config.model, loaded.fingerprint, loaded.metadata
        else:
            model, source, fingerprint, metadata = random_model(config.random_weights, config.seed), "", None, {}
        untouched = deepcopy(model) if config.against else model
        predictor = Predictor(model, fingerprint=fingerprint, metadata=metadata, **config.options)
        rgb = demo_sheet() if config.photo is None else read_image(config.photo)
        name = "sheet of demonstration photos" if config.photo is None else config.photo.name
        return cls(config, scratch, untouched, predictor, source, rgb, name)

    def about(self) -> dict[str, Any]:
        """Which model this is, and how it runs."""
        return {
            "name": self.predictor.config.name,
            "source": self.config.random_weights or self.config.model,
            "random_weights": self.config.random_weights is not None,
            "fingerprint": self.predictor.fingerprint,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "device": str(self.predictor.device),
            "dtype": self.predictor.backend or str(self.predictor.dtype).removeprefix("torch."),
            "options": {key: value for key, value in self.config.options.items() if value is not None},
        }

    # ------------------------------------------------------------ encoder and decoder

    def model_parts(self, note: Note) -> dict[str, Any]:
        """Encoding one photo and decoding 1 and 64 clicks, ours and others', and the machine's rate, all in turn."""
        device = self.predictor.device
        shape = self.predictor.config
        transform = ImageTransform(shape.canvas, shape.low_res, shape.pixel_mean, shape.pixel_std)
        pixels = transform(self.rgb)[0].unsqueeze(0).to(device)
        features = self.predictor.encode_pixels(pixels)
        clicks = {count: self._clicks(count) for count in PROMPTS}
        parts: dict[str, dict[str, Callable[[], Any]]] = {}
        if "encode" in self.config.what:
            parts["encode"] = {OURS: lambda: self.predictor.encode_pixels(pixels)}
        if "decode" in self.config.what:
            for count in PROMPTS:
                parts[_decode_name(count)] = {OURS: _our_decode(self.predictor, features, clicks[count])}
        agreement = {}
        if "transformers" in self.config.against:
            theirs = self._transformers()
            agreement = _add_transformers(parts, theirs, pixels, features, clicks)
        products = matrix_products(device, (torch.float32, torch.bfloat16))
        works = {f"{what}/{side}": work for what, sides in parts.items() for side, work in sides.items()}
        works |= {name: product for name, (_, product) in products.items()}
        note("warming up")
        timings = interleaved(works, self.config.repeats, note=_without_products(note))
        found = rates(products, timings)
        operations = {"encode": encoder_operations(self.predictor.config, self.model.image_encoder)}
        operations |= {_decode_name(count): decoder_operations(self.predictor.config, count) for count in PROMPTS}
        results = [
            _result(what, side, timings[f"{what}/{side}"], operations[what], found)
            for what, sides in parts.items()
            for side in sides
        ]
        return {"rates": found, "results": results, "agreement": agreement}

    def _clicks(self, count: int) -> Tensor:
        """(P, 1, 2) canvas pixels, inside the photo."""
        draw = torch.Generator().manual_seed(self.config.seed)
        frame = self.predictor.model.frame((self.rgb.shape[0], self.rgb.shape[1]))
        size = torch.tensor([frame.resized_hw[1], frame.resized_hw[0]])
        return (torch.rand(count, 1, 2, generator=draw) * size).to(self.predictor.device)

    def _transformers(self) -> Any:
        """transformers' model with the same weights, float32, attention written out."""
        if not isinstance(self.model.config.encoder, ViTConfig):
            raise OptionError(
                f"transformers has plain ViT models only; {self.model.config.name} is none. Leave --against out, or "
                "take vit_b, vit_l or vit_h."
            )
        library = require("transformers", "text")
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
        folder = save_hf(self.model.state_dict(), self.model.config, self.scratch / "transformers")
        theirs = library.SamModel.from_pretrained(
            folder, local_files_only=True, attn_implementation="eager", dtype=torch.float32
        )
        return theirs.eval().to(self.predictor.device)

    # ------------------------------------------------------------ whole photos and processes

    def everything(self, note: Note) -> list[dict[str, Any]]:
        """Automatic masks of the photo, encoder included."""
        generator = AutomaticMaskGenerator(self.predictor, points_per_side=self.config.points_per_side)
        found: list[Any] = []
        name = f"everything, {self.config.points_per_side}² clicks"
        note(f"warming up {name}")
        works = {name: lambda: found.__setitem__(slice(None), generator.generate(self.rgb))}
        timing = interleaved(works, self.config.repeats, note=note)[name]
        return [{**_result(name, OURS, timing, None, {}), "records": len(found)}]

    def memory(self, note: Note) -> dict[str, Any]:
        """The most memory that a process of its own holds for automatic masks of the photo."""
        note("peak memory, in a process of its own")
        code = "import sys; from segany.recipes.benchmark import memory_child; memory_child(sys.argv[1])"
        asked = {
            "model": self._reachable(),
            "photo": str(self._photo_file()),
            "options": dict(self.config.options),
            "points_per_side": self.config.points_per_side,
        }
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(asked)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SeganyError(f"the process that measures memory failed: {done.stderr.strip()[-2000:]}")
        said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return {**said, "photo_bytes": int(self.rgb.nbytes)}

    def cold_start(self, note: Note) -> list[dict[str, Any]]:
        """`segany segment photo --point …`, from the start of the process to its end."""
        name = "cold start of segany segment"
        target = self.scratch / "mask.png"
        height, width = self.rgb.shape[:2]
        words = [sys.executable, "-m", "segany", "segment", str(self._photo_file()), "--point"]
        words += [f"{width // 2},{height // 2}", "-o", str(target), "--no-cache", "--model", self._reachable()]
        for option, value in self.config.options.items():
            words += [] if value is None else [f"--{option}", str(value)]

        def run() -> None:
            target.unlink(missing_ok=True)
            done = subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ))
            if done.returncode != 0 or not target.is_file():
                raise SeganyError(f"segany segment failed: {done.stderr.strip()[-2000:]}")

        run()  # files into the disk cache
        seconds = []
        for number in range(self.config.repeats):
            seconds.append(timed(run))
            note(f"round {number + 1} of {self.config.repeats}: {name} {seconds[-1]:.3f} s")
        return [_result(name, OURS, Timing(tuple(seconds)), None, {})]

    def _reachable(self) -> str:
        """Name or path that another process can load the model from."""
        if not self.source:
            path = self.scratch / "random.safetensors"
            self.source = str(save_model(self.model.state_dict(), self.model.config, path))
        return self.source

    def _photo_file(self) -> Path:
        if self.config.photo is not None:
            return self.config.photo.resolve()
        path = self.scratch / "photo.png"
        return path if path.is_file() else save_picture(path, self.rgb)


def memory_child(asked: str) -> None:
    """Body of the process that measures memory: prints its peaks as JSON, bytes.

    Args:
        asked: JSON with model, photo, options, points_per_side.
    """
    what = json.loads(asked)
    peaks = {"after_imports": peak_bytes()}
    predictor = Predictor.from_pretrained(what["model"], **what["options"])
    rgb = read_image(what["photo"])
    peaks["after_loading"] = peak_bytes()
    records = AutomaticMaskGenerator(predictor, points_per_side=what["points_per_side"]).generate(rgb)
    print(json.dumps({**peaks, "peak": peak_bytes(), "records": len(records)}))


def _our_decode(predictor: Predictor, features: Tensor, points: Tensor) -> Callable[[], Any]:
    labels = torch.ones(points.shape[:2], dtype=torch.long, device=points.device)
    return lambda: predictor.decode_canvas(features, points=points, labels=labels)


def _add_transformers(
    parts: dict[str, dict[str, Callable[[], Any]]],
    theirs: Any,
    pixels: Tensor,
    features: Tensor,
    clicks: Mapping[int, Tensor],
) -> dict[str, float]:
    """Put the other side's calls beside ours; returns how far the two sides' answers are apart."""
    agreement = {}

    def encode() -> Any:
        with torch.no_grad():
            return theirs.get_image_embeddings(pixels)

    def decode(points: Tensor) -> Callable[[], Any]:
        def call() -> Any:
            labels = torch.ones(1, *points.shape[:2], dtype=torch.long, device=points.device)
            with torch.no_grad():
                return theirs(
                    image_embeddings=features,
                    input_points=points[None],
                    input_labels=labels,
                    multimask_output=True,
                )

        return call

    if "encode" in parts:
        parts["encode"]["transformers"] = encode
        other = encode().float()
        agreement["embedding_relative_error"] = float((features - other).norm() / other.norm())
    for count, points in clicks.items():
        if (name := _decode_name(count)) in parts:
            parts[name]["transformers"] = decode(points)
    if (name := _decode_name(max(PROMPTS))) in parts:
        ours, other = parts[name][OURS]()[0][:, 1:] > 0, parts[name]["transformers"]().pred_masks[0] > 0
        union = (ours | other).flatten(2).sum(-1)
        shared = (ours & other).flatten(2).sum(-1)
        agreement["mask_iou_median"] = float((shared[union > 0] / union[union > 0]).median()) if union.any() else 1.0
    return agreement


def _decode_name(count: int) -> str:
    return f"decode, {count} click{'s' if count > 1 else ''}"


def _without_products(note: Note) -> Note:
    return lambda text: None if PRODUCT in text else note(text)


def _result(
    what: str, side: str, timing: Timing, operations: float | None, found: Mapping[str, float]
) -> dict[str, Any]:
    """One row: seconds, and how many times the machine's bound they are."""
    row: dict[str, Any] = {"what": what, "side": side, "seconds": timing.to_dict()}
    if operations is not None:
        row["operations"] = operations
        row["bound_seconds"] = {dtype: operations / rate for dtype, rate in found.items()}
        row["times_bound"] = {dtype: timing.median * rate / operations for dtype, rate in found.items()}
    return row
