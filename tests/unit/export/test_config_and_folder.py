"""Knobs are checked, folders appear whole or not at all, manifests tell the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from segany.core.errors import MissingDependencyError, OptionError, SeganyError
from segany.core.files import sha256_file
from segany.export import folder as folder_module
from segany.export.config import ExportConfig
from segany.export.folder import export_onnx
from segany.export.graph import LARGEST_SINGLE_FILE, open_session, run_session, write_graph
from segany.export.manifest import FileEntry
from segany.export.specs import encoder_spec
from segany.export.verify import Agreement, Bench
from segany.modeling.checkpoints.load import LoadedModel
from segany.predict.predictor import Predictor

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def toy(toy_predictor: Predictor) -> LoadedModel:
    return LoadedModel(toy_predictor.model, toy_predictor.config, {}, toy_predictor.fingerprint)


@pytest.fixture(scope="module")
def exported(toy: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(toy, tmp_path_factory.mktemp("onnx") / "toy").parent


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("wrong", [{"opset": 16}, {"opset": 21}, {"least_agreement": 1.5}])
def test_impossible_knobs_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="got"):
        ExportConfig(**wrong)


def test_manifest_describes_every_file(exported: Path, toy: LoadedModel) -> None:
    content = manifest(exported)
    assert content["format"] == "segany-onnx 1"
    assert content["fingerprint"] == toy.fingerprint
    assert (content["canvas"], content["low_res"]) == (toy.config.canvas, toy.config.low_res)
    assert content["embedding"] == {"channels": toy.config.channels, "grid": toy.config.grid}
    assert set(content["files"]) == {"encoder", "decoder", "decoder_batch", "decoder_image", "decoder_click"}
    assert {path.name for path in exported.iterdir()} == {
        "manifest.json",
        *(entry["name"] for entry in content["files"].values()),
    }
    for entry in content["files"].values():
        path = exported / entry["name"]
        assert entry["sha256"] == sha256_file(path)
        assert entry["bytes"] == path.stat().st_size
        proto = onnx.load(str(path))
        onnx.checker.check_model(proto, full_check=True)
        assert {item.domain: item.version for item in proto.opset_import} == {"": 17}
        session = open_session(path)
        for key, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            assert entry[key] == [{"name": x.name, "type": "float32", "shape": x.shape} for x in found]
            assert {x.type for x in found} == {"tensor(float)"}


def test_manifest_holds_measured_agreement(exported: Path) -> None:
    files = manifest(exported)["files"]
    for name in ("encoder", "decoder", "decoder_batch", "decoder_image"):
        assert 0 < files[name]["agreement"]["largest_difference"] < 5e-4, name
    assert files["decoder_click"]["agreement"]["mean_mask_iou"] > 0.99
    assert files["decoder"]["agreement"]["cases"] >= 30


def test_decoder_has_the_references_names_and_shapes(exported: Path, toy: LoadedModel) -> None:
    config, session = toy.config, open_session(exported / "decoder.onnx")
    assert {x.name: x.shape for x in session.get_inputs()} == {
        "image_embeddings": [1, config.channels, config.grid, config.grid],
        "point_coords": [1, "num_points", 2],
        "point_labels": [1, "num_points"],
        "mask_input": [1, 1, config.low_res, config.low_res],
        "has_mask_input": [1],
        "orig_im_size": [2],
    }
    assert [x.name for x in session.get_outputs()] == ["masks", "iou_predictions", "low_res_masks"]


def test_an_earlier_export_is_replaced(toy: LoadedModel, tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "manifest.json").write_text("{}")
    (target / "old_int8.onnx").write_bytes(b"old")
    export_onnx(toy, target)
    assert not (target / "old_int8.onnx").exists()
    assert manifest(target)["model"] == "toy"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_other_peoples_files_are_left_alone(toy: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="other files"):
        export_onnx(toy, tmp_path)
    with pytest.raises(OptionError, match="is a file"):
        export_onnx(toy, tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_wrong_file_is_noticed_and_nothing_is_left(
    toy: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traced graph is damaged on its way to the disk; the check against the model must see it."""
    honest = folder_module.write_graph

    def damaged(spec: Any, folder: Path, opset: int, *, half: bool = False) -> list[Path]:
        paths = honest(spec, folder, opset, half=half)
        if spec.name == "decoder":
            proto = onnx.load(str(paths[0]))
            largest = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
            largest.raw_data = bytes(len(largest.raw_data))
            onnx.save(proto, str(paths[0]))
        return paths

    monkeypatch.setattr(folder_module, "write_graph", damaged)
    with pytest.raises(SeganyError, match=r"decoder\.onnx must compute"):
        export_onnx(toy, tmp_path / "toy")
    assert list(tmp_path.iterdir()) == []


def test_missing_extra_is_answered_by_its_install_line(
    toy: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'segany\[export\]'"):
        export_onnx(toy, tmp_path / "toy")


def test_large_weights_go_into_a_file_of_their_own(
    toy: LoadedModel, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ViT-H needs, at toy size: the limit is lowered instead."""
    assert LARGEST_SINGLE_FILE < 2**31
    monkeypatch.setattr("segany.export.graph.LARGEST_SINGLE_FILE", 10_000)
    spec = encoder_spec(toy.model)
    paths = write_graph(spec, tmp_path, 17)
    assert [path.name for path in paths] == ["encoder.onnx", "encoder.onnx.data"]
    entry = FileEntry.of(spec, paths, {}).to_dict()
    assert entry["data"] == {
        "name": "encoder.onnx.data",
        "sha256": sha256_file(paths[1]),
        "bytes": paths[1].stat().st_size,
    }
    assert entry["bytes"] < entry["data"]["bytes"]
    pixels = torch.randn(1, 3, toy.config.canvas, toy.config.canvas)
    apart, together = (open_session(path / "encoder.onnx") for path in (tmp_path, exported))
    assert torch.equal(run_session(apart, [pixels])[0], run_session(together, [pixels])[0])


def test_half_weights_are_smaller_and_agree(toy: LoadedModel, exported: Path, tmp_path: Path) -> None:
    spec = encoder_spec(toy.model)
    (path,) = write_graph(spec, tmp_path, 17, half=True)
    assert path.stat().st_size < 0.7 * (exported / "encoder.onnx").stat().st_size
    assert {x.type for x in open_session(path).get_inputs()} == {"tensor(float)"}
    agreement = Bench(toy.model).measure(spec, path, with_masks=True)
    assert agreement.mean_mask_iou is not None and agreement.mean_mask_iou > 0.98
    assert 1e-5 < agreement.largest_difference < 1e-2


def test_int8_is_kept_only_where_masks_agree(toy: LoadedModel, tmp_path: Path) -> None:
    loose = manifest(export_onnx(toy, tmp_path / "loose", ExportConfig(int8=True, least_agreement=0.0)).parent)
    assert {"encoder_int8", "decoder_click_int8"} <= set(loose["files"])
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "loose" / "encoder_int8.onnx")).graph.node}
    assert "MatMulInteger" in kinds
    measured = loose["files"]["decoder_click_int8"]["agreement"]["mean_mask_iou"]
    assert 0.5 < measured < loose["files"]["decoder_click"]["agreement"]["mean_mask_iou"]

    above = (measured + loose["files"]["decoder_click"]["agreement"]["mean_mask_iou"]) / 2
    strict = manifest(export_onnx(toy, tmp_path / "strict", ExportConfig(int8=True, least_agreement=above)).parent)
    assert "decoder_click_int8" not in strict["files"]
    assert not (tmp_path / "strict" / "decoder_click_int8.onnx").exists()
    assert any("decoder_click_int8 was left out" in note for note in strict["notes"])


def test_agreement_of_nothing_like_it_is_infinite() -> None:
    from segany.export.verify import _difference

    assert _difference(torch.zeros(2), torch.zeros(3)) == float("inf")
    assert _difference(torch.tensor([float("nan")]), torch.ones(1)) == float("inf")
    assert Agreement(1, 0.5).to_dict() == {"cases": 1, "largest_difference": 0.5}


def test_command_writes_the_folder_and_says_what_it_measured(
    toy: LoadedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from segany.cli.app import main
    from segany.modeling.checkpoints.save import save_model

    weights = save_model(toy.model.state_dict(), toy.config, tmp_path / "toy.safetensors")
    target = tmp_path / "onnx"
    words = ["export", "onnx", "--model", str(weights), "-o", str(target), "--single-mask", "--exact-click"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("encoder.onnx", "decoder_click.onnx", str(target / "manifest.json")))
    content = manifest(target)
    assert content["fingerprint"] == toy.fingerprint
    assert content["options"]["single_mask"] is True
    assert content["files"]["decoder"]["outputs"][0]["shape"] == [1, 1, "height", "width"]
    assert content["files"]["decoder_click"]["agreement"]["largest_difference"] < 1e-3

    assert main(["export", "onnx", "-o", str(tmp_path), "--model", str(weights)]) == 2
    assert "other files" in capsys.readouterr().err
