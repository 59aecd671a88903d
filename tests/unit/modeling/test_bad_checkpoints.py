"""Files that are not what they should be: what was expected, what came, what to do."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segany.core.errors import CheckpointError
from segany.modeling.build import build_model
from segany.modeling.checkpoints import load
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_hf, save_model, save_official
from segany.modeling.config import DecoderConfig, ModelConfig, ViTConfig
from segany.modeling.presets import TINY, TOY

SMALL = ModelConfig(
    name="custom",
    encoder=ViTConfig(width=32, depth=2, heads=2, global_blocks=(1,), window=3),
    canvas=128,
    width=32,
    decoder=DecoderConfig(mlp_width=48, iou_head_width=24),
)


def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(build_model(SMALL).state_dict())


class Payload:
    """Unpickling this writes a file: nothing here may ever do that."""

    mark: Path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


def absent(path: Path) -> Path:
    return path / "nowhere.pth"


def empty(path: Path) -> Path:
    (path / "empty.pth").touch()
    return path / "empty.pth"


def web_page(path: Path) -> Path:
    (path / "sam.pth").write_text("\n<!DOCTYPE html><html><body>404 Not Found</body></html>")
    return path / "sam.pth"


def lfs_pointer(path: Path) -> Path:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (path / "sam.safetensors").write_text(text)
    return path / "sam.safetensors"


def photo(path: Path) -> Path:
    (path / "sam.pth").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100))
    return path / "sam.pth"


def truncated(path: Path) -> Path:
    whole = save_official(state(), path / "sam.pth").read_bytes()
    (path / "sam.pth").write_bytes(whole[: len(whole) // 2])
    return path / "sam.pth"


def damaged_inside(path: Path) -> Path:
    with zipfile.ZipFile(path / "sam.pth", "w") as archive:
        archive.writestr("sam/data.pkl", b"not a pickle")
        archive.writestr("sam/version", b"3\n")
    return path / "sam.pth"


def truncated_safetensors(path: Path) -> Path:
    whole = save_model(state(), SMALL, path / "m.safetensors").read_bytes()
    (path / "m.safetensors").write_bytes(whole[:-1000])
    return path / "m.safetensors"


def huge_header(path: Path) -> Path:
    (path / "m.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{" + bytes(100))
    return path / "m.safetensors"


def hostile(path: Path) -> Path:
    Payload.mark = path / "ran"
    torch.save({"model": Payload()}, path / "sam.pth")
    return path / "sam.pth"


def hostile_bare(path: Path) -> Path:
    Payload.mark = path / "ran"
    (path / "sam.pth").write_bytes(pickle.dumps({"model": Payload()}, protocol=2))
    return path / "sam.pth"


def list_inside(path: Path) -> Path:
    torch.save([torch.zeros(1)], path / "sam.pth")
    return path / "sam.pth"


def numbers_inside(path: Path) -> Path:
    torch.save({"lr": 0.1, "weight": torch.zeros(1)}, path / "sam.pth")
    return path / "sam.pth"


def another_network(path: Path) -> Path:
    save_file({"conv1.weight": torch.zeros(3, 3), "fc.bias": torch.zeros(3)}, path / "resnet.safetensors")
    return path / "resnet.safetensors"


def missing_tensor(path: Path) -> Path:
    tensors = state()
    del tensors["mask_decoder.transformer.norm_final_attn.bias"]
    return save_official(tensors, path / "sam.pth")


def missing_block(path: Path) -> Path:
    tensors = {key: value for key, value in state().items() if ".blocks.0." not in key}
    return save_official(tensors, path / "sam.pth")


def added_tensor(path: Path) -> Path:
    return save_official({**state(), "mask_decoder.hf_token.weight": torch.zeros(1, 32)}, path / "sam_hq.pth")


def wrong_shape(path: Path) -> Path:
    tensors = state()
    tensors["image_encoder.neck.2.weight"] = torch.zeros(32, 32, 5, 5)
    return save_official(tensors, path / "sam.pth")


def not_a_number(path: Path) -> Path:
    tensors = state()
    tensors["image_encoder.neck.1.bias"][3] = float("nan")
    return save_official(tensors, path / "sam.pth")


def integers(path: Path) -> Path:
    tensors = state()
    tensors["image_encoder.neck.1.bias"] = torch.zeros(32, dtype=torch.int8)
    return save_official(tensors, path / "sam.pth")


def mixed_windows(path: Path) -> Path:
    tensors = state()
    tensors["image_encoder.blocks.1.attn.rel_pos_h"] = torch.zeros(7, 16)
    return save_official(tensors, path / "sam.pth")


def bare_folder(path: Path) -> Path:
    (path / "notes.txt").touch()
    return path


def other_family(path: Path) -> Path:
    folder = save_hf(state(), SMALL, path / "hf")
    (folder / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    return folder


def broken_config(path: Path) -> Path:
    folder = save_hf(state(), SMALL, path / "hf")
    (folder / "config.json").write_text('{"model_type": "sa')
    return folder


def config_of_another_size(path: Path) -> Path:
    folder = save_hf(state(), SMALL, path / "hf")
    described = json.loads((folder / "config.json").read_text())
    described["vision_config"]["hidden_size"] = 64
    (folder / "config.json").write_text(json.dumps(described))
    return folder


def unknown_encoder(path: Path) -> Path:
    config = {**SMALL.to_dict(), "encoder": {"kind": "swin"}}
    save_file(state(), path / "m.safetensors", metadata={"config": json.dumps(config)})
    return path / "m.safetensors"


BAD: dict[Callable[[Path], Path], str] = {
    # maker: expected, what came, what to do
    absent: r"must be one of tiny, vit_b.*or the path.*got '.*nowhere.pth'.*models list",
    empty: r"must hold weights.*empty.pth is empty \(0 bytes\).*Download it again",
    web_page: r"must hold weights.*is a web page.*download the file itself",
    lfs_pointer: r"must hold weights.*Git LFS pointer of \d+ bytes.*git lfs pull",
    photo: r"must be a torch file.*starts with b'\\xff\\xd8.*Check which file",
    truncated: r"must end with its index.*\(\d+ bytes\) is cut short.*Download it again",
    damaged_inside: r"(must be whole|tensors only).*sam.pth",
    truncated_safetensors: r"whole header and all its data.*\(\d+ bytes\) does not.*Download it again",
    huge_header: r"whole header and all its data.*m.safetensors.*does not.*Download it again",
    hostile: r"tensors only.*asks for .*mkdir, which could run code, and was not loaded.*Ask its maker",
    hostile_bare: r"(tensors only|must be whole).*sam.pth",
    list_inside: r"must hold a state dict.*holds a list.*state_dict\(\)",
    numbers_inside: r"names to tensors.*lr is not.*state_dict\(\)",
    another_network: r"must hold a SAM model.*2 tensors \(conv1.weight, fc.bias\).*Check which file",
    missing_tensor: r"exactly the \d+ tensors.*missing 1 \(mask_decoder.transformer.norm_final_attn.bias\).*fetch",
    missing_block: r"must count up from 0; got \[1\].*fetch it again",
    added_tensor: r"exactly the \d+ tensors.*unexpected 1 \(mask_decoder.hf_token.weight\).*fetch it again",
    wrong_shape: r"neck.2.weight: expected \(32, 32, 3, 3\), got \(32, 32, 5, 5\).*fetch it again",
    not_a_number: r"must hold finite weights; 1 tensors.*first image_encoder.neck.1.bias.*earlier checkpoint",
    integers: r"must hold real numbers.*neck.1.bias is torch.int8, expected torch.float32.*Export",
    mixed_windows: r"one window size beside the grid's 8; got windows \[3, 4\].*fetch it again",
    bare_folder: r"must hold model.safetensors or pytorch_model.bin.*holds notes.txt.*fetch the weights",
    other_family: r"model_type 'sam'; got 'sam2'.*different models",
    broken_config: r"config.json must be JSON.*failed.*Download it again",
    config_of_another_size: r"must have the shapes.*expected \(.*64.*\), got \(.*32.*\).*It looks like",
    unknown_encoder: r"model config must hold name, encoder.*failed at KeyError\('swin'\).*models info",
}


@pytest.mark.parametrize("maker", BAD, ids=lambda maker: maker.__name__)
def test_bad_checkpoint(maker: Callable[[Path], Path], tmp_path: Path) -> None:
    source = maker(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match=BAD[maker]):
        load_model(source)
    assert sorted(tmp_path.rglob("*")) == before, "loading must run nothing and leave nothing behind"


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    """Else the hostile cases would prove nothing."""
    hostile(tmp_path)
    torch.load(tmp_path / "sam.pth", weights_only=False)
    assert (tmp_path / "ran").is_dir()


def test_released_name_without_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGANY_CACHE", str(tmp_path))
    expected = (
        r"weights of vit_b must lie at .*sam_vit_b_01ec64.pth.*not there.*models download vit_b.*375 MB.*put it at"
    )
    with pytest.raises(CheckpointError, match=expected):
        load_model("vit_b")


def test_released_name_with_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGANY_CACHE", str(tmp_path))
    save_official(state(), tmp_path / "models" / "sam_vit_l_0b3195.pth")
    with pytest.raises(CheckpointError, match=r"must hold vit_l; it holds a vit model with canvas 128.*load it by"):
        load_model("vit_l")


def test_embedded_model_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "EMBEDDED", tmp_path / "tiny.safetensors")
    with pytest.raises(CheckpointError, match=r"embedded model must lie at .*it is missing. Install the package again"):
        load_model("tiny")


def test_embedded_model_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_model(build_model(TINY).state_dict(), TINY, tmp_path / "tiny.safetensors", half=True)
    monkeypatch.setattr(load, "EMBEDDED", path)
    assert load_model("tiny").config == TINY


def test_preset_without_weights_is_no_source() -> None:
    with pytest.raises(CheckpointError, match=r"got 'toy', which is neither"):
        load_model(TOY.name)
