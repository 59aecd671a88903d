"""Numbers for images that independent workers agree on."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePath

from segany.core.files import sha256_file
from segany.records._checks import SAFE_INTEGER

_SA1B_STEM = re.compile(r"sa_([0-9]+)")
_BITS = 53


def image_id_for(name: str | PurePath, data: bytes | Path) -> int:
    """The image's number: N for a file called ``sa_N``, otherwise 53 bits of the SHA-256 of its bytes.

    Args:
        name: file name, with or without folders and ending.
        data: the file's bytes, or where to read them; not read for ``sa_N``.

    Returns:
        Integer in [0, 2^53), exact in JavaScript.
    """
    match = _SA1B_STEM.fullmatch(PurePath(name).stem)
    if match and int(match[1]) <= SAFE_INTEGER:
        return int(match[1])
    digest = sha256_file(data) if isinstance(data, Path) else hashlib.sha256(data).hexdigest()
    return int(digest, 16) >> (256 - _BITS)
