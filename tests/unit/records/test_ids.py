"""Numbers of images."""

from __future__ import annotations

import hashlib
from pathlib import Path

from segany.records.ids import image_id_for


def test_sa1b_names_carry_their_number() -> None:
    assert image_id_for("sa_223750.jpg", b"") == 223750
    assert image_id_for(Path("/somewhere/sa_7.jpg"), Path("/not/read")) == 7


def test_other_names_take_the_first_53_bits_of_the_content(tmp_path: Path) -> None:
    bits = bin(int.from_bytes(b"\x01" + hashlib.sha256(b"photo").digest()))[3:]
    expected = int(bits[:53], 2)
    assert image_id_for("cat.jpg", b"photo") == expected < 2**53
    (tmp_path / "cat.jpg").write_bytes(b"photo")
    assert image_id_for("cat.jpg", tmp_path / "cat.jpg") == expected
    for name in ("sa_7b.jpg", "xsa_7.jpg", "sa_.jpg", f"sa_{2**53}.jpg", "SA_7.jpg"):
        assert image_id_for(name, b"photo") == expected
