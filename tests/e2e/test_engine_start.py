"""The newcomer's page: every command on it runs, in its order, on photos in a folder; people are simulated."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

sa = pytest.importorskip("sqlalchemy")

from segany.cli.app import main  # noqa: E402
from segany.data.synthetic import synthetic_scene  # noqa: E402
from segany.engine.chance import is_held_out  # noqa: E402
from segany.engine.store import open_store  # noqa: E402
from segany.pictures.save import save_picture  # noqa: E402
from segany.recipes.engine_human import HumanConfig, truth_of  # noqa: E402
from segany.recipes.engine_process import Service  # noqa: E402
from segany.recipes.engine_simulated import Login, play  # noqa: E402

PAGE = Path(__file__).resolve().parents[2] / "docs" / "engine_start.md"
PASSWORD = "correct horse battery"
SIDE = 96
SHORTER = {
    "--seconds 300": "--steps 2",
    "prefill garden": "prefill garden --points-per-side 8",
    "--preset project": "--preset project --knob points_per_side=8",
}
"""What the test does not wait for."""


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


def photos(folder: Path, truth: dict[str, object], numbers: range, share: float, wanted: tuple[int, int]) -> None:
    """Painted photos, so many that train and so many that are held out."""
    left = {False: wanted[0], True: wanted[1]}
    for number in numbers:
        scene = synthetic_scene(np.random.default_rng(number), SIDE)
        path = folder / f"{number}.png"
        save_picture(path, scene.rgb)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        held = is_held_out(sha256, share=share, seed=0)
        if left[held]:
            left[held] -= 1
            truth[sha256] = truth_of(scene.masks)
        else:
            path.unlink()
        if not any(left.values()):
            return
    raise AssertionError(f"{numbers} gave too few photos: {left}")


def test_every_command_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGANY_PASSWORD", PASSWORD)
    (settings,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "garden.json").write_text(settings)
    share, truth = json.loads(settings)["held_out_share"], dict[str, object]()
    photos(tmp_path / "photos", truth, range(100), share, (4, 2))
    photos(tmp_path / "more", truth, range(100, 200), share, (1, 0))
    photos(tmp_path / "rest", truth, range(200, 300), share, (1, 0))
    ran = set()
    with Service(tmp_path / "garden", tmp_path / "service", None) as service:
        for line in commands():
            words = shlex.split(next((line.replace(a, b) for a, b in SHORTER.items() if a in line), line))
            name = " ".join(words[1:3])
            if words[0] == "pip" or name == "engine rehearse":
                continue
            if name == "serve --project":
                assert words == ["segany", "serve", "--project", "garden"]
                _annotate(service, tmp_path / "garden", truth)
                continue
            code = main(words[1:])
            told = capsys.readouterr()
            if name == "engine rollback" and code:
                assert "in use before" in told.err
                continue
            assert code == 0, f"{line}\n{told.out}\n{told.err}"
            ran.add(name)
    wanted = {"init", "add", "users", "status", "round", "prefill", "auto", "audit", "look", "clear", "release"}
    assert {f"engine {one}" for one in wanted} | {"dataset validate"} <= ran
    assert PASSWORD not in (tmp_path / "service" / "service.log").read_text(errors="replace")
    card = (tmp_path / "garden-1.0" / "dataset_card.md").read_text(encoding="utf-8")
    assert "CC-BY-4.0" in card and "garden@example.org" in card
    store = open_store(tmp_path / "garden")
    (project,) = store.projects()
    assert {one.document.stage for one in store.accepted(project.id)} == {"manual", "auto"}
    assert len(store.rounds(project.id)) == 1 and store.current_model(project.id) is not None
    assert [one.stage for one in store.tasks(project.id, stage="semi")] == ["semi"]
    store.close()


def _annotate(service: Service, folder: Path, truth: dict[str, object]) -> None:
    """What Ann and Rob do on the page."""
    service.ensure(Path("tiny"))
    ann, rob = (Login(name=name, password=PASSWORD) for name in ("ann", "rob"))
    human = HumanConfig(skip_share=0.0, most_masks=3)
    (project,) = open_store(folder).projects()
    played = play(service.url, project.id, truth, [ann], [rob], config=human)  # type: ignore[arg-type]
    assert played.submitted >= 6 and played.masks > 6 and played.reviewed >= 2
