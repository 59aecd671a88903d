"""ONNX files of the models, made when first asked for and kept by fingerprint."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
from copy import deepcopy
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from segany.core.optional import require
from segany.core.progress import check_cancelled
from segany.modeling.checkpoints.load import LoadedModel
from segany.service.errors import ApiError, shown
from segany.service.models import ModelShelf
from segany.service.workers import Pool

MANIFEST = "manifest.json"
FILE = re.compile(r"manifest\.json|[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\.onnx")
NEEDED = ("onnx", "onnxruntime")


class OnnxFiles:
    """One folder per model and exporter.

    Args:
        shelf: the models.
        folder: theirs alone.
        pool: where files are made.
    """

    def __init__(self, shelf: ModelShelf, folder: Path, pool: Pool) -> None:
        self._shelf, self.folder, self._pool = shelf, folder, pool
        self._stopped = False
        self._making: dict[str, asyncio.Future[Path]] = {}
        for leftover in folder.glob(".*.part"):
            shutil.rmtree(leftover, ignore_errors=True)

    @property
    def is_possible(self) -> bool:
        """Whether the extra that makes them is installed."""
        return all(find_spec(module) is not None for module in NEEDED)

    async def file(self, model: str, name: str) -> Path:
        """One file of a model.

        Args:
            model: a name the shelf knows.
            name: of the file.

        Raises:
            ApiError: 404, there is no such file.
            MissingDependencyError: they would have to be made, and the extra is not installed.
        """
        path = (await self.made(model)) / name
        if not FILE.fullmatch(name) or not path.is_file():
            raise ApiError(
                404,
                "file_unknown",
                f"expected a file that {MANIFEST} names; got {shown(name)}. Read {MANIFEST} first.",
            )
        return path

    async def made(self, model: str) -> Path:
        """The folder of a model, made when it must be; from the event loop alone."""
        making = self._making.get(model)
        if making is None:
            making = asyncio.ensure_future(self._pool.run(self._make, model))
            self._making[model] = making
            making.add_done_callback(lambda done: self._finished(model, done))
        return await asyncio.shield(making)

    def stop(self) -> None:
        """Give up what is being made after the file at work; it is made anew when asked for again."""
        self._stopped = True
        self._pool.close()

    def _finished(self, model: str, done: asyncio.Future[Path]) -> None:
        self._making.pop(model, None)
        if not done.cancelled():
            done.exception()  # looked at, should every client have gone

    def _make(self, model: str) -> Path:
        predictor = self._shelf.get(model)
        folder = self.folder / f"{model}-{predictor.fingerprint[:16]}-{exporter_mark()}"
        if (folder / MANIFEST).is_file():
            return folder
        for module in NEEDED:
            require(module, "export")
        from segany.export.folder import export_onnx

        copy = deepcopy(predictor.model).float().cpu()  # tracing must not meet the clicks of the moment
        loaded = LoadedModel(copy, predictor.config, predictor.metadata, predictor.fingerprint)
        part = self.folder / f".{folder.name}.{secrets.token_hex(4)}.part"
        try:
            export_onnx(loaded, part, progress=lambda done, total: check_cancelled(lambda: self._stopped))
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return folder


def exporter_mark() -> str:
    """Short hash of the code that makes the files: another release makes them anew."""
    import segany.export

    digest = sha256()
    for path in sorted(Path(segany.export.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
