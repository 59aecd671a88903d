"""The convolutional encoder's attention layers start as the identity, then reach across the whole photo; its fine
features start at zero, then sharpen masks below the embedding's grid."""

from dataclasses import replace

import pytest
import torch

from segany.core.errors import CheckpointError
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


def test_fine_features_change_nothing_before_they_are_trained() -> None:
    torch.manual_seed(0)
    plain = build_model(replace(TOY, encoder=CONV)).eval()
    grown = build_model(replace(TOY, encoder=CONV, detail=True)).eval()
    missing = grown.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing and all(name.startswith("image_encoder.detail.") for name in missing)
    pixels, click = torch.randn(2, 3, 128, 128), torch.tensor([[[40.0, 50.0]], [[90.0, 20.0]]])
    with torch.no_grad():
        embeddings = grown.encode(pixels)
        assert embeddings.shape[1] == grown.config.channels == 5 * plain.config.channels - 32
        given = {"points": click, "labels": torch.ones(2, 1)}
        torch.testing.assert_close(grown.decode(embeddings, **given), plain.decode(plain.encode(pixels), **given))


def test_a_fine_feature_lands_on_its_own_pixels() -> None:
    """One cell of the stride-4 map changes the logits there and nowhere else; one at stride 8 a block of four."""
    torch.manual_seed(0)
    model = build_model(replace(TOY, encoder=CONV, detail=True)).eval()
    grid, width = model.config.grid, model.config.width
    click = {"points": torch.tensor([[[40.0, 50.0]]]), "labels": torch.ones(1, 1)}
    embedding = torch.randn(1, model.config.channels, grid, grid)
    for side, step, start in ((2, 2, width), (4, 1, 2 * width)):
        fine = torch.zeros(1, width // 2 ** (1 + side // 2), side * grid, side * grid)
        fine[0, :, 5, 9] = 3 * torch.randn(fine.shape[1])
        other = embedding.clone()
        folded = torch.nn.functional.pixel_unshuffle(fine, side)
        other[:, start : start + folded.shape[1]] += folded
        with torch.no_grad():
            moved = (model.decode(other, **click)[0] - model.decode(embedding, **click)[0]).abs()[0].amax(0) > 1e-6
        rows, columns = moved.nonzero().T
        assert (rows.unique().tolist(), columns.unique().tolist()) == (
            list(range(5 * step, 6 * step)),
            list(range(9 * step, 10 * step)),
        )


def test_only_a_convolutional_encoder_has_fine_features() -> None:
    with pytest.raises(CheckpointError, match="convolutional"):
        replace(TOY, detail=True)
