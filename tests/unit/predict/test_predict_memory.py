"""Large photos in bounded memory, each in an interpreter of its own so that the peak is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
START = """
import json, resource, sys
from dataclasses import replace
import numpy as np
import torch
torch.set_num_threads(1)
sys.path.insert(0, {folder!r})
from _toys import lively, photo, trained_or_random_tiny
from segany.geometry.grids import point_grid
from segany.predict.automatic.config import SweepConfig
from segany.predict.automatic.generator import AutomaticMaskGenerator
def say(**facts):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    print(json.dumps(dict(facts, peak_mb=peak)))
"""
GIGABYTE = 1024


def run(body: str) -> dict[str, Any]:
    code = START.format(folder=str(Path(__file__).parent)) + body
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


@pytest.mark.timeout(900)
def test_1024_points_on_12_megapixels() -> None:
    """The IoU threshold is lowered to where 220 of the 3,072 candidates pass it; the other filters are off."""
    facts = run("""
predictor = trained_or_random_tiny()
rgb = photo(3000, 4000)
image = predictor.encode(rgb)
thumbnail = replace(image, frame=predictor.model.frame((30, 40)))
points = point_grid(32)[:, None] * [40, 30]
tried = predictor.decode(thumbnail, points=points, labels=np.ones((1024, 1)))
lowered = float(np.sort(tried.predicted_iou.ravel())[-220])
seen = []
knobs = dict(pred_iou_thresh=lowered, stability_score_thresh=0.0, box_nms_thresh=1.0)
records = AutomaticMaskGenerator(predictor, SweepConfig(**knobs)).generate(
    rgb, embeddings=[image], progress=lambda *now: seen.append(now)
)
say(records=len(records), sizes=sorted({record.size_hw for record in records}), clicks=seen[-1])
""")
    assert facts["clicks"] == [1024, 1024]
    assert 200 <= facts["records"] <= 240 and facts["sizes"] == [[3000, 4000]]
    assert facts["peak_mb"] < 3 * GIGABYTE


@pytest.mark.timeout(900)
def test_100_megapixels_end_to_end(tmp_path: Path) -> None:
    facts = run(f"""
from PIL import Image
rgb = np.repeat(np.repeat(photo(100, 100), 100, axis=0), 100, axis=1)
Image.fromarray(rgb).save({str(tmp_path / "large.jpg")!r}, quality=60)
del rgb
predictor = lively()
image = predictor.encode({str(tmp_path / "large.jpg")!r})
result = predictor.decode(image, points=[(5000, 5000)], labels=[1])
hint = result.low_res_logits[result.best]
again = predictor.decode(image, points=[(5000, 5000), (100, 9000)], labels=[1, 0], mask=hint)
binary = predictor.decode(image, mask=again.masks[0] | result.best_mask)
say(size=image.size_hw, shape=result.masks.shape, shares=[float(m.masks.mean()) for m in (result, again, binary)])
""")
    assert facts["size"] == [10_000, 10_000] and facts["shape"] == [3, 10_000, 10_000]
    assert all(0 < share < 1 for share in facts["shares"])
    assert facts["peak_mb"] < 3 * GIGABYTE
