"""What learns on: exactly the parts a policy names; adapters leave no trace but better weights."""

from __future__ import annotations

import pytest
import torch

from segany.core.errors import OptionError
from segany.modeling.build import build_model
from segany.modeling.presets import PRESETS, TOY
from segany.modeling.sam import Sam
from segany.recipes.config import shrunk_model
from segany.training.fit import training_mode
from segany.training.freezing import Adapters, adapted_layers, freeze


def learning(model: Sam) -> set[str]:
    """Parts with gradients: neck, trunk, decoder."""
    found = set()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inside = name.startswith("image_encoder.")
            found.add("neck" if name.startswith("image_encoder.neck") else "trunk" if inside else name.split(".")[0])
    return found


DECODER = {"prompt_encoder", "mask_decoder"}


@pytest.mark.parametrize(
    ("policy", "parts"),
    [
        ("decoder", DECODER),
        ("lora", DECODER),
        ("decoder+neck", DECODER | {"neck"}),
        ("all", DECODER | {"neck", "trunk"}),
    ],
)
def test_policies(policy: str, parts: set[str]) -> None:
    model = build_model(TOY)
    freeze(model, policy)  # type: ignore[arg-type]
    assert learning(model) == parts


def test_unknown_policy() -> None:
    with pytest.raises(OptionError, match="decoder, decoder\\+neck, lora, all"):
        freeze(build_model(TOY), "head")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["toy", "tiny", "vit_t"])
def test_adapters_merge_into_the_official_layout(name: str) -> None:
    pytest.importorskip("peft")
    torch.manual_seed(0)
    model = build_model(shrunk_model(PRESETS[name])).eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    pixels = torch.randn(1, 3, model.config.canvas, model.config.canvas)
    freeze(model, "lora")
    layers = adapted_layers(model)
    assert layers
    adapters = Adapters(model, rank=2, alpha=4.0)
    assert learning(model) == DECODER | {"trunk"}
    trained = [n for n, p in model.named_parameters() if p.requires_grad and n.startswith("image_encoder.")]
    assert all("lora_" in n for n in trained) and len(trained) == 2 * len(layers)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(pixels), _encoded(before, name, pixels))
        for n, parameter in model.named_parameters():
            if "lora_B" in n:
                parameter.normal_(std=0.1)
        adapted = model.encode(pixels)
    adapters.merge()
    after = model.state_dict()
    assert after.keys() == before.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {f"{layer}.weight" for layer in layers}
    with torch.no_grad():
        torch.testing.assert_close(model.encode(pixels), adapted, atol=1e-4, rtol=1e-4)


def _encoded(state: dict[str, torch.Tensor], name: str, pixels: torch.Tensor) -> torch.Tensor:
    model = build_model(shrunk_model(PRESETS[name])).eval()
    model.load_state_dict(state)
    return model.encode(pixels)


def test_frozen_statistics_hold_still() -> None:
    model = build_model(shrunk_model(PRESETS["vit_t"]))
    freeze(model, "decoder")
    training_mode(model)
    norms = [m for m in model.image_encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    assert model.mask_decoder.training
    freeze(model, "all")
    assert all(norm.training for norm in norms if training_mode(model))
