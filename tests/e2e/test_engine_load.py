"""The script that loads the data engine's service with many annotators: a small run of it, whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from segany.modeling.checkpoints.save import save_model

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "engine_load.py"


def test_a_few_annotators_work_without_errors_and_are_counted(tmp_path: Path, toy_predictor: Predictor) -> None:
    state, config = toy_predictor.model.state_dict(), toy_predictor.config
    weights = save_model(state, config, tmp_path / "toy.safetensors")
    output = tmp_path / "load.json"
    command = [sys.executable, str(SCRIPT), "--database", "sqlite", "--people", "3", "--seconds", "4", "--pace", "0.02"]
    command += ["--photos", "60", "--threads", "1", "--model", f"toy={weights}", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(output.read_text())["runs"]["sqlite"]
    assert run["errors"] == 0 and run["kept_what_was_acknowledged"]
    assert run["done"]["submit"] and run["kept"]["submit"] == run["done"]["submit"]
    routes = run["routes"]
    assert routes["POST /tasks/…/submit"]["count"] == run["done"]["submit"]
    assert routes["POST /session"]["count"] == 5, "three annotators, a reviewer, an admin"
    model = run["groups"]["calls to the model"]["count"]
    assert model == sum(one["count"] for name, one in routes.items() if name.endswith(("masks", "embedding")))
    assert model + run["groups"]["other calls"]["count"] == sum(one["count"] for one in routes.values())
    assert output.with_suffix(".png").stat().st_size > 1000
