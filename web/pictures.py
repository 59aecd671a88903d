"""Screenshots that the browser tests left → the pictures of the documentation: ``python web/pictures.py``.

Run `pytest tests/e2e` first, and look at what it left in `tests/e2e/artefacts`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FROM = ROOT / "tests" / "e2e" / "artefacts"
TO = ROOT / "docs" / "pictures"
MOST_BYTES = 150_000
PICTURES = {
    "01-welcome": "page/welcome",
    "03-candidates": "page/candidates",
    "07-brush-and-eraser": "page/brush",
    "09-everything": "page/everything",
    "12-export": "page/export",
    "33-help": "page/keys",
    "34-tablet": "page/tablet",
    "41-annotate": "project/annotate",
    "43-review": "project/review",
    "45-sent-back": "project/sent-back",
    "47-dashboard-light": "project/dashboard",
    "49-prefilled": "project/prefilled",
    "50-tablet": "project/tablet",
    "52-clearing": "project/clearing",
}
"""Screenshot to picture."""


def main() -> int:
    missing = [name for name in PICTURES if not (FROM / f"{name}.png").is_file()]
    for name in sorted(set(PICTURES) - set(missing)):
        print(convert(FROM / f"{name}.png", TO / f"{PICTURES[name]}.webp"))
    if missing:
        print(f"not there: {', '.join(missing)}; run the tests of tests/e2e first", file=sys.stderr)
    return 1 if missing else 0


def convert(screenshot: Path, picture: Path) -> str:
    """As WebP, as good as the limit allows; its name and size."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(screenshot) as image:
        for quality in (88, 80, 70, 60, 45, 30):
            image.convert("RGB").save(picture, quality=quality, method=6)
            if picture.stat().st_size <= MOST_BYTES:
                break
    return f"{picture.relative_to(ROOT)} {picture.stat().st_size} bytes"


if __name__ == "__main__":
    sys.exit(main())
