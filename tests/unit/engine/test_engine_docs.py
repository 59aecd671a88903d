"""The example of the documentation runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

sa = pytest.importorskip("sqlalchemy")

from segany.records.formats.cvat import write_cvat  # noqa: E402
from segany.records.record import ImageRecord, MaskRecord  # noqa: E402

from .conftest import HEIGHT, WIDTH, photo  # noqa: E402

DOCS = Path(__file__).resolve().parents[3] / "docs" / "engine.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    records = []
    for number in range(3):
        (tmp_path / "photos" / f"{number}.png").write_bytes(photo(number))
        (tmp_path / f"made{number}.png").write_bytes(photo(10 + number))
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[2:9, 3:11] = True
        made = (MaskRecord.from_mask(mask),)
        records.append(
            ImageRecord(image_id=number, height=HEIGHT, width=WIDTH, file_name=f"made{number}.png", annotations=made)
        )
    write_cvat(records, tmp_path / "annotations.xml")
    names: dict[str, object] = {}
    exec(compile(code, "engine.md", "exec"), names)
    assert (tmp_path / "garden-1.0" / "dataset_card.md").is_file()
    states = [task.state for task in names["store"].tasks(names["project"])]  # type: ignore[attr-defined]
    assert sorted(states) == ["accepted"] * 3 + ["queued"] * 3
    names["store"].close()  # type: ignore[attr-defined]
