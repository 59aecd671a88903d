"""Compare weights, and mixtures of weights, on photos that training only watches: for choosing, not for publishing.

    python benchmarks/watched.py --data FOLDER_OF_PACKS tiny runs/a runs/b 0.5*runs/a+0.5*runs/b [--write OUT]

Every argument is a model's name or path, or a weighted sum of them. The protocol is that of the published scores:
centre clicks, corrections into the largest error, exact boxes; at most `--masks` masks of at least half a percent of a
photo. `--write` keeps the last one.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segany.core.errors import OptionError
from segany.data.packs import PACKS, PackImage, iter_pack
from segany.data.photo_sets import is_watched
from segany.evaluation.points import PointsScorer
from segany.evaluation.sampling import SampleConfig, score_image
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_model
from segany.modeling.sam import Sam
from segany.predict.predictor import Predictor

SHOWN = ("oracle_1", "clicks_1", "clicks_2", "clicks_3", "clicks_5", "clicks_9", "box", "box_oracle")


def watched(data: Path) -> Iterator[PackImage]:
    """Photos kept from training."""
    for pack in PACKS:
        yield from (image for image in iter_pack(pack, data, "train") if is_watched(image.pack, image.key))


def mixed(text: str) -> Sam:
    """The model that an argument means.

    Raises:
        OptionError: weights of different models, or a factor that is no number.
    """
    model: Sam | None = None
    total: dict[str, Tensor] = {}
    for part in text.split("+"):
        factor, _, source = part.rpartition("*")
        try:
            weight = float(factor or 1)
        except ValueError as error:
            raise OptionError(f"a mixture is FACTOR*WEIGHTS+…, got {part!r}.") from error
        loaded = load_model(source).model
        if model is not None and loaded.config != model.config:
            raise OptionError(f"only weights of one model can be mixed; {source} belongs to another.")
        model = loaded
        for name, tensor in loaded.state_dict().items():
            total[name] = total.get(name, torch.zeros(tensor.shape)) + weight * tensor.float()
    assert model is not None
    model.load_state_dict(total)
    return model


def scores(model: Sam, images: Sequence[PackImage], sample: SampleConfig) -> dict[str, dict[str, float]]:
    """Pack → score → mean over its masks."""
    scorer = PointsScorer(predictor=Predictor(model, dtype="float32"))
    rows = defaultdict(list)
    for image in images:
        for row in score_image(image, [scorer], sample):
            rows[row.pack].append(row.scores)
    return {pack: {name: float(np.mean([s[name] for s in found])) for name in found[0]} for pack, found in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("SEGANY_SHARED")
    parser.add_argument("models", nargs="+", help="NAME, PATH, or 0.5*PATH+0.5*PATH")
    parser.add_argument("--data", type=Path, default=Path(shared) / "data" if shared else None)
    parser.add_argument("--masks", type=int, default=8, help="of each photo")
    parser.add_argument("--packs", action="store_true", help="a line for every pack too")
    parser.add_argument("--write", type=Path, help="safetensors file for the last of them")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data is needed: the folder that holds the packs (or set SEGANY_SHARED)")
    torch.set_num_threads(1)
    images, sample = list(watched(options.data)), SampleConfig(masks_per_image=options.masks)
    print(" ".join(f"{name:>10}" for name in (*SHOWN, "recovered")))
    for text in options.models:
        model = mixed(text)
        found = scores(model, images, sample)
        means = {name: float(np.mean([pack[name] for pack in found.values()])) for name in SHOWN}
        for name, line in [*(found.items() if options.packs else ()), ("mean", means)]:
            values = [line[key] for key in SHOWN] + [line["clicks_1"] / line["oracle_1"]]
            print(" ".join(f"{value:10.3f}" for value in values), f" {name} {text}", flush=True)
    if options.write is not None:
        save_model(model.state_dict(), model.config, options.write, metadata={"mixture": options.models[-1]})


if __name__ == "__main__":
    main()
