"""Reading, recognising, converting and saving weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from segany.core.errors import CheckpointError, OptionError
from segany.modeling.build import build_model
from segany.modeling.checkpoints.convert import convert
from segany.modeling.checkpoints.hf_config import from_hf_config, hf_config
from segany.modeling.checkpoints.load import build_without_init, describe, fill, load_model
from segany.modeling.checkpoints.names import GAUSSIAN, TIED_EMBEDDING, from_hf, is_hf, to_hf
from segany.modeling.checkpoints.read import read_state
from segany.modeling.checkpoints.save import save_hf, save_model, save_official
from segany.modeling.checkpoints.sniff import sniff
from segany.modeling.config import DecoderConfig, ModelConfig, TinyViTConfig, ViTConfig
from segany.modeling.presets import PRESETS, TINY, TOY, VIT_B
from segany.modeling.registry import build_sam, build_sam_vit_b, build_sam_vit_h, sam_model_registry
from segany.modeling.sam import Sam

SMALL = ModelConfig(
    name="custom",
    encoder=ViTConfig(width=32, depth=3, heads=2, global_blocks=(2,), window=3),
    canvas=128,
    width=32,
    mask_channels=8,
    decoder=DecoderConfig(depth=3, mlp_width=48, iou_head_depth=4, iou_head_width=24),
)


@pytest.fixture(scope="module")
def small() -> Sam:
    torch.manual_seed(0)
    return build_model(SMALL).eval()


def same_weights(one: Sam, other: Sam) -> bool:
    state = other.state_dict()
    return all(torch.equal(tensor, state[key]) for key, tensor in one.state_dict().items())


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h", "vit_t"])
@pytest.mark.parametrize("layout", ["official", "huggingface"])
def test_presets_are_recognised(name: str, layout: str) -> None:
    with torch.device("meta"):
        state = build_model(PRESETS[name]).state_dict()
    if layout == "huggingface" and name == "vit_t":
        with pytest.raises(CheckpointError, match=r"plain ViT"):
            to_hf(state)
        return
    assert sniff(to_hf(state) if layout == "huggingface" else state) is PRESETS[name]


def test_other_sizes_are_recognised(small: Sam) -> None:
    assert sniff(small.state_dict()) == SMALL
    assert sniff(to_hf(small.state_dict())) == SMALL


def test_other_tiny_vit_is_recognised() -> None:
    encoder = TinyViTConfig(
        widths=(16, 24, 32, 40), depths=(1, 2, 3, 1), heads=(2, 2, 4, 4), windows=(7, 3, 5, 3), expand=2, classes=9
    )
    config = ModelConfig(name="custom", encoder=encoder, width=64)
    with torch.device("meta"):
        assert sniff(build_model(config).state_dict()) == config


def test_names_go_there_and_back(small: Sam) -> None:
    state = small.state_dict()
    there = to_hf(state)
    assert is_hf(there) and not is_hf(state)
    assert len(there) == len(state) + 1
    back = from_hf(there)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in state.items())


def test_heads_of_iou_mlp_keep_their_order(small: Sam) -> None:
    there, state = to_hf(small.state_dict()), small.state_dict()
    head = "mask_decoder.iou_prediction_head."
    for official, theirs in (("layers.0", "proj_in"), ("layers.1", "layers.0"), ("layers.2", "layers.1")):
        assert torch.equal(there[f"{head}{theirs}.weight"], state[f"{head}{official}.weight"])
    assert torch.equal(there[head + "proj_out.bias"], state[head + "layers.3.bias"])


@pytest.mark.parametrize("dropped", [TIED_EMBEDDING, "prompt_encoder.shared_embedding.positional_embedding"])
def test_either_tied_copy_is_enough(dropped: str, small: Sam) -> None:
    there = to_hf(small.state_dict())
    expected = there.pop(dropped)
    assert torch.equal(from_hf(there)[GAUSSIAN], expected)


def test_tied_copies_that_differ_are_refused(small: Sam) -> None:
    there = to_hf(small.state_dict())
    there[TIED_EMBEDDING] = there[TIED_EMBEDDING] + 1
    with pytest.raises(CheckpointError, match=r"one tied tensor"):
        from_hf(there)


def test_official_round_trip(small: Sam, tmp_path: Path) -> None:
    loaded = load_model(save_official(small.state_dict(), tmp_path / "sam.pth"))
    assert loaded.config == SMALL
    assert same_weights(small, loaded.model)
    assert not loaded.model.training
    assert list(tmp_path.iterdir()) == [tmp_path / "sam.pth"]


@pytest.mark.parametrize("wrap", ["model", "state_dict"])
def test_training_checkpoint_is_unwrapped(wrap: str, small: Sam, tmp_path: Path) -> None:
    state = {f"module.{key}": tensor for key, tensor in small.state_dict().items()}
    torch.save({wrap: state, "epoch": 3}, tmp_path / "last.pt")
    assert same_weights(small, load_model(tmp_path / "last.pt").model)


def test_old_torch_format(small: Sam, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same_weights(small, load_model(tmp_path / "old.pth").model)


def test_folder_round_trip(small: Sam, tmp_path: Path) -> None:
    loaded = load_model(save_hf(small.state_dict(), SMALL, tmp_path / "hf"))
    assert loaded.config == SMALL
    assert same_weights(small, loaded.model)


def test_folder_config_wins_where_shapes_are_silent(tmp_path: Path) -> None:
    model = build_model(TOY)  # four decoder heads, which no shape tells
    loaded = load_model(save_hf(model.state_dict(), TOY, tmp_path / "hf"))
    assert loaded.config is TOY


def test_own_format_keeps_config_and_metadata(tmp_path: Path) -> None:
    model = build_model(TINY)
    path = save_model(
        model.state_dict(), TINY, tmp_path / "run" / "model.safetensors", metadata={"seed": 7, "data": "packs"}
    )
    for source in (path, path.parent):
        loaded = load_model(source)
        assert loaded.config == TINY
        assert loaded.metadata == {"seed": "7", "data": "packs"}
        assert same_weights(model, loaded.model)


def test_half_precision_file_is_float32_in_memory(small: Sam, tmp_path: Path) -> None:
    path = save_model(small.state_dict(), SMALL, tmp_path / "half.safetensors", half=True)
    stored = load_file(path)
    assert stored[GAUSSIAN].dtype == torch.float32
    assert {tensor.dtype for key, tensor in stored.items() if key != GAUSSIAN} == {torch.float16}
    state = load_model(path).model.state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert torch.equal(state[GAUSSIAN], small.state_dict()[GAUSSIAN])
    for key, tensor in small.state_dict().items():
        assert torch.allclose(state[key], tensor, rtol=1e-3, atol=1e-6)


def test_batch_norm_statistics_stay_float32(tmp_path: Path) -> None:
    encoder = TinyViTConfig(widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), heads=(2, 2, 2, 2), windows=(3, 3, 3, 3))
    config = ModelConfig(name="custom", encoder=encoder, canvas=64, width=32)
    path = save_model(build_model(config).state_dict(), config, tmp_path / "bn.safetensors", half=True)
    with safe_open(path, framework="pt") as stream:
        kinds = {key.rsplit(".", 1)[1]: stream.get_tensor(key).dtype for key in stream.keys()}  # noqa: SIM118
    assert kinds["running_var"] == torch.float32
    assert kinds["num_batches_tracked"] == torch.int64
    assert load_model(path).config == config


def test_half_precision_overflow_is_refused(small: Sam, tmp_path: Path) -> None:
    state = dict(small.state_dict())
    state["mask_decoder.iou_token.weight"] = state["mask_decoder.iou_token.weight"] + 1e6
    with pytest.raises(CheckpointError, match=r"65504; mask_decoder.iou_token.weight reaches"):
        save_model(state, SMALL, tmp_path / "half.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_fingerprint_follows_the_weights(small: Sam, tmp_path: Path) -> None:
    one = load_model(save_official(small.state_dict(), tmp_path / "one.pth"))
    same = load_model(save_hf(small.state_dict(), SMALL, tmp_path / "hf"))
    changed = dict(small.state_dict())
    changed["mask_decoder.iou_token.weight"] = changed["mask_decoder.iou_token.weight"] + 1e-3
    other = load_model(save_official(changed, tmp_path / "two.pth"))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert len(one.fingerprint) == 64


@pytest.mark.parametrize("layout", ["official", "huggingface", "segany"])
def test_convert(layout: str, small: Sam, tmp_path: Path) -> None:
    source = save_official(small.state_dict(), tmp_path / "sam.pth")
    target = convert(source, tmp_path / f"as-{layout}", layout)
    again = read_state(target)
    assert again.layout == layout
    assert same_weights(small, load_model(target).model)


def test_convert_options(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"official, huggingface, segany; got 'onnx'"):
        convert("x", tmp_path / "y", "onnx")
    with pytest.raises(OptionError, match=r"half precision"):
        convert("x", tmp_path / "y", "official", half=True)


def test_hf_layout_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(CheckpointError, match=r"plain ViT models.*'tiny' \(conv"):
        hf_config(TINY)


def test_sparse_hf_config_has_their_defaults() -> None:
    assert from_hf_config({"model_type": "sam"}) is VIT_B
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    large["global_attn_indexes"] = [5, 11, 17, 23]
    assert from_hf_config({"model_type": "sam", "vision_config": large}) is PRESETS["vit_l"]


def test_config_round_trip_through_hf() -> None:
    assert from_hf_config(json.loads(json.dumps(hf_config(SMALL)))) == SMALL


def test_describe(small: Sam, tmp_path: Path) -> None:
    told = describe(read_state(save_official(small.state_dict(), tmp_path / "sam.pth")))
    assert told["layout"] == "official"
    assert told["model"] == "a vit model with canvas 128"
    assert told["tensors"] == len(small.state_dict())
    assert told["dtypes"] == ["float32"]


def test_building_without_init_draws_nothing_and_keeps_buffers() -> None:
    torch.manual_seed(0)
    model = build_without_init(SMALL)
    drawn = torch.rand(1)
    fresh = build_model(SMALL)
    fill(model, fresh.state_dict(), "memory")
    pixels = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        assert torch.equal(model.eval().encode(pixels), fresh.eval().encode(pixels))
    torch.manual_seed(0)
    torch.randn(2, SMALL.width // 2)  # the position frequencies are drawn even so
    assert torch.equal(drawn, torch.rand(1))


def test_registry_has_the_reference_names() -> None:
    assert build_sam is build_sam_vit_h is sam_model_registry["default"] is sam_model_registry["vit_h"]
    assert set(sam_model_registry) == {"default", "vit_h", "vit_l", "vit_b", "vit_t"}


def test_registry_without_checkpoint_is_random() -> None:
    with torch.device("meta"):
        model = sam_model_registry["vit_b"](checkpoint=None)
    assert (model.image_encoder.img_size, model.mask_threshold, model.training) == (1024, 0.0, False)


def test_registry_refuses_another_variant(small: Sam, tmp_path: Path) -> None:
    path = save_official(small.state_dict(), tmp_path / "small.pth")
    with pytest.raises(CheckpointError, match=r"tensors of vit_b; missing .*It looks like a vit model"):
        build_sam_vit_b(path)


def test_values_are_copied_not_mapped(small: Sam, tmp_path: Path) -> None:
    path = tmp_path / "sam.safetensors"
    save_file(dict(small.state_dict()), path)
    loaded = load_model(path)
    path.write_bytes(b"gone")
    assert same_weights(small, loaded.model)
