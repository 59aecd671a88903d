"""Compare weights, and mixtures of weights, on photos that training only watches: for choosing, not for publishing.

    python benchmarks/mix_weights.py --data FOLDER_OF_PACKS tiny runs/a runs/b 0.5*runs/a+0.5*runs/b [--write OUT]

Every argument is a name or path of weights, or a weighted sum; a line is its means over packs under the protocol of
the published scores, at most `--masks` masks of a photo; `--packs` shows the packs, `--write` keeps the last one.
One model alone, with intervals and a plot: `segany evaluate points --part watched`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from _common import take_packs
from torch import Tensor

from segany.core.errors import OptionError, SeganyError
from segany.evaluation.report import PackSummary, mean_of_packs, to_markdown
from segany.evaluation.sampling import SampleConfig
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_model
from segany.modeling.sam import Sam
from segany.predict.predictor import Predictor
from segany.recipes.evaluate import points

SHOWN = ("oracle_1", "clicks_1", "clicks_2", "clicks_3", "clicks_5", "clicks_9", "box", "box_oracle")


def mixed(text: str) -> Sam:
    """The model that an argument means.

    Raises:
        OptionError: weights of different models, or a factor that is no number.
        CheckpointError: no such weights.
    """
    model: Sam | None = None
    total: dict[str, Tensor] = {}
    for part in text.split("+"):
        factor, _, source = part.rpartition("*")
        try:
            weight = float(factor or 1)
        except ValueError as error:
            raise OptionError(f"a mixture must be FACTOR*WEIGHTS+FACTOR*WEIGHTS…; got {part!r}.") from error
        loaded = load_model(source).model
        if model is not None and loaded.config != model.config:
            raise OptionError(f"only weights of one model can be mixed; {source} belongs to another than the first.")
        model = loaded
        for name, tensor in loaded.state_dict().items():
            total[name] = total.get(name, torch.zeros(tensor.shape)) + weight * tensor.float()
    assert model is not None
    model.load_state_dict(total)
    return model


def line(summaries: Sequence[PackSummary], name: str) -> str:
    """Means over packs, and what the predicted IoU keeps of the best of three."""
    means = [mean_of_packs(summaries, score) or 0.0 for score in SHOWN]
    return " ".join(f"{value:10.3f}" for value in (*means, means[1] / max(means[0], 1e-9))) + f"  {name}"


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="NAME, PATH, or 0.5*PATH+0.5*PATH")
    take_packs(parser)
    parser.add_argument("--masks", type=int, default=8, help="of each photo")
    parser.add_argument("--packs", action="store_true", help="a table of the packs for every model too")
    parser.add_argument("--write", type=Path, help="safetensors file for the last of them")
    return parser.parse_args(words)


def compare(options: argparse.Namespace) -> None:
    sample = SampleConfig(masks_per_image=options.masks)
    print(" ".join(f"{name:>10}" for name in (*SHOWN, "recovered")))
    for text in options.models:
        model = mixed(text)
        predictor = Predictor(model, dtype="float32")
        result = points(options.data, predictor=predictor, model=text, part="watched", sample=sample)
        print(line(result.summaries, text), flush=True)
        if options.packs:
            print(to_markdown(result.summaries, SHOWN, intervals=False))
    if options.write is not None:
        save_model(model.state_dict(), model.config, options.write, metadata={"mixture": options.models[-1]})


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    torch.set_num_threads(1)
    try:
        compare(options)
    except SeganyError as error:
        print(f"mix_weights: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
