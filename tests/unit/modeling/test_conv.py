"""The convolutional encoder's attention layers: they start as the identity, then reach across the whole photo."""

from dataclasses import replace

import torch

from segany.modeling.build import build_model
from segany.modeling.config import ConvConfig, ModelConfig
from segany.modeling.presets import TOY

CONV = ConvConfig(widths=(8, 8, 16, 64), depths=(1, 1, 1, 1))


def test_attention_layers_change_nothing_before_they_are_trained() -> None:
    torch.manual_seed(0)
    plain = build_model(replace(TOY, encoder=CONV)).eval()
    grown = build_model(replace(TOY, encoder=replace(CONV, attention=2))).eval()
    missing = grown.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing and all(name.startswith("image_encoder.attention.") for name in missing)
    pixels = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(grown.image_encoder(pixels), plain.image_encoder(pixels))


def test_trained_attention_lets_a_far_corner_matter() -> None:
    torch.manual_seed(0)
    encoder = build_model(replace(TOY, encoder=replace(CONV, attention=1), canvas=512)).image_encoder.eval()
    pixels = torch.randn(1, 3, 512, 512)
    changed = pixels.clone()
    changed[..., -16:, -16:] += 5
    with torch.no_grad():
        near = [(encoder(p)[..., 0, 0]) for p in (pixels, changed)]
        torch.testing.assert_close(near[0], near[1], rtol=0, atol=0)  # the identity: beyond the kernels' reach
        torch.nn.init.normal_(encoder.attention[0].proj.weight, std=0.1)
        far = [(encoder(p)[..., 0, 0]) for p in (pixels, changed)]
    assert (far[0] - far[1]).abs().max() > 1e-5


def test_the_config_round_trips_and_older_weights_have_no_attention() -> None:
    config = replace(TOY, encoder=replace(CONV, attention=1))
    assert ModelConfig.from_dict(config.to_dict()) == config
    older = config.to_dict()
    del older["encoder"]["attention"]
    read = ModelConfig.from_dict(older).encoder
    assert isinstance(read, ConvConfig) and read.attention == 0
