"""Photos, kept once under their hash, and what of them must not be seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

import sqlalchemy as sa
from sqlalchemy.orm import Session

from segany.core.errors import DataError, ImageError, TransitionError
from segany.core.files import atomic_write_bytes
from segany.data.folders import IMAGE_ENDINGS, walk_files
from segany.engine.chance import is_held_out
from segany.engine.store import rows
from segany.engine.store.base import StoreBase, get, person_of, require_role
from segany.engine.store.tables import EventRow, ImageRow, ProjectRow, RegionRow
from segany.engine.values import AddedImages, Image, Privacy, Region, RegionKind
from segany.records.ids import image_id_for

Outline = Sequence[tuple[float, float]]


class PhotoStore(StoreBase):
    """Images of projects."""

    def add_images(self, project: int, paths: Iterable[str | Path]) -> AddedImages:
        """Take photos in; folders are looked through. What cannot be read is refused, the rest goes on.

        Raises:
            NotFoundError: no such project.
        """
        self.project(project)
        added: list[Image] = []
        refused: list[str] = []
        known = 0
        for path in paths:
            place = Path(path)
            for file in walk_files(place, IMAGE_ENDINGS) if place.is_dir() else [place]:
                try:
                    image, fresh = self._add(project, file.name, file.read_bytes())
                except (ImageError, DataError, OSError) as error:
                    refused.append(f"{file}: {error}")
                    continue
                known += not fresh
                added += [image] if fresh else []
        return AddedImages(added=tuple(added), there_already=known, refused=tuple(refused))

    def add_image(self, project: int, file_name: str, content: bytes) -> Image:
        """Take one photo in; the same bytes twice are one image.

        Raises:
            NotFoundError: no such project.
            ImageError: not an image.
            DataError: a file name that is none.
        """
        return self._add(project, file_name, content)[0]

    def _add(self, project: int, file_name: str, content: bytes) -> tuple[Image, bool]:
        from segany.transforms.encoded import decode_image

        name, ending = PurePath(file_name).name, PurePath(file_name).suffix.lower()
        if ending not in IMAGE_ENDINGS:
            raise DataError(f"an image's file name must end in {', '.join(IMAGE_ENDINGS)}; got {file_name!r}.")
        height, width = decode_image(content, name).shape[:2]
        sha256 = hashlib.sha256(content).hexdigest()
        place = self._place(sha256, ending)
        if not place.is_file() or place.stat().st_size != len(content):
            atomic_write_bytes(place, content)
        with self._write() as s:
            owner = get(s, ProjectRow, project, "project", lock=True)
            same = sa.select(ImageRow).where(ImageRow.project_id == project, ImageRow.sha256 == sha256)
            if (row := s.scalar(same)) is not None:
                return rows.image(row), False
            settings = rows.project(owner).settings
            row = ImageRow(
                project_id=project,
                image_id=_free_number(s, project, name, content),
                sha256=sha256,
                file_name=name,
                width=width,
                height=height,
                held_out=is_held_out(sha256, share=settings.held_out_share, seed=settings.seed),
                privacy="unchecked",
                detectors=[],
                created=self._clock(),
            )
            s.add(row)
            s.flush()
            return rows.image(row), True

    def images(self, project: int, *, after: int = 0, limit: int | None = None) -> list[Image]:
        """A project's images in the order they came.

        Args:
            project: whose.
            after: only those behind this one.
            limit: at most so many.
        """
        query = sa.select(ImageRow).where(ImageRow.project_id == project, ImageRow.id > after)
        with self._read() as s:
            return [rows.image(row) for row in s.scalars(query.order_by(ImageRow.id).limit(limit))]

    def image(self, image: int) -> Image:
        """One image.

        Raises:
            NotFoundError: there is none.
        """
        with self._read() as s:
            return rows.image(get(s, ImageRow, image, "image"))

    def image_by_hash(self, project: int, sha256: str) -> Image | None:
        """The image of these bytes, if the project has it."""
        query = sa.select(ImageRow).where(ImageRow.project_id == project, ImageRow.sha256 == sha256)
        with self._read() as s:
            row = s.scalar(query)
            return None if row is None else rows.image(row)

    def image_of_hash(self, sha256: str) -> Image | None:
        """The image of these bytes in whichever project has it; the oldest when several have."""
        projects = sa.select(ProjectRow.id)  # named one by one, so that the index is of use
        query = sa.select(ImageRow).where(ImageRow.project_id.in_(projects), ImageRow.sha256 == sha256)
        with self._read() as s:
            row = s.scalar(query.order_by(ImageRow.id).limit(1))
            return None if row is None else rows.image(row)

    def image_path(self, image: Image) -> Path:
        """Where a photo's bytes lie."""
        return self._place(image.sha256, PurePath(image.file_name).suffix.lower())

    def image_bytes(self, image: Image) -> bytes:
        """A photo's bytes.

        Raises:
            DataError: they are gone, or are others.
        """
        path = self.image_path(image)
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != image.sha256:
            raise DataError(f"expected the photo {image.file_name} at {path}; it is gone or damaged. Restore the file.")
        return content

    def note_detections(
        self, image: int, detector: str, found: Sequence[tuple[RegionKind, Outline, float | None]]
    ) -> list[Region]:
        """Write down what a detector found; asking again with the same detector changes nothing.

        A cleared photo in which something is found has to be cleared anew.

        Raises:
            NotFoundError: no such image.
        """
        with self._write() as s:
            row = get(s, ImageRow, image, "image", lock=True)
            if detector not in row.detectors:
                for kind, outline, score in found:
                    s.add(self._region(image, kind, outline, score, detector))
                row.detectors = [*row.detectors, detector]
                if row.privacy == "unchecked" or (found and row.privacy == "cleared"):
                    row.privacy = "found"
                s.flush()
            return _regions(s, image)

    def was_looked_at(self, image: int, detector: str) -> bool:
        """Whether a detector has looked at a photo.

        Raises:
            NotFoundError: no such image.
        """
        with self._read() as s:
            return detector in get(s, ImageRow, image, "image").detectors

    def add_region(self, user: int, image: int, kind: RegionKind, outline: Outline) -> Region:
        """A person blurs a part of a photo; a cleared photo has to be cleared anew.

        Args:
            user: who.
            image: which.
            kind: what is there.
            outline: three or more corners x, y in pixels of the image.

        Raises:
            NotFoundError: no such person or image.
            DataError: not an outline.
        """
        if len(outline) < 3:
            raise DataError(f"an outline must have three corners x, y or more; got {len(outline)}.")
        with self._write() as s:
            person, row = person_of(s, user), get(s, ImageRow, image, "image", lock=True)
            region = self._region(image, kind, outline, None, "person")
            s.add(region)
            row.privacy = "found" if row.privacy == "cleared" else row.privacy
            s.flush()
            self._log(s, "blur", project=row.project_id, person=person, image=image, data={"region": region.id})
            return rows.region(region)

    def drop_region(self, user: int, region: int) -> Region:
        """A person says that a part need not be blurred; a cleared photo has to be cleared anew.

        Raises:
            NotFoundError: no such person or region.
        """
        with self._write() as s:
            person, row = person_of(s, user), get(s, RegionRow, region, "region", lock=True)
            image = get(s, ImageRow, row.image_id, "image", lock=True)
            row.active = False
            image.privacy = "found" if image.privacy == "cleared" else image.privacy
            self._log(s, "unblur", project=image.project_id, person=person, image=image.id, data={"region": region})
            return rows.region(row)

    def regions(self, image: int, *, active: bool = True) -> list[Region]:
        """What of a photo is to be blurred; also what was taken back when `active` is False."""
        with self._read() as s:
            return [one for one in _regions(s, image) if one.active or not active]

    def clear_image(self, user: int, image: int, *, verdict: Privacy = "cleared", reason: str = "") -> Image:
        """A person says whether a photo, with its regions blurred, may go out.

        Args:
            user: who.
            image: which.
            verdict: "cleared" or "withheld".
            reason: why; needed to withhold.

        Raises:
            NotFoundError: no such person or image.
            AccessError: not a reviewer.
            TransitionError: another verdict, no reason, or no detector has looked at it yet.
        """
        if verdict not in ("cleared", "withheld") or (verdict == "withheld" and not reason.strip()):
            raise TransitionError("a photo must be cleared, or withheld with a reason; say one of these.")
        with self._write() as s:
            person, row = person_of(s, user), get(s, ImageRow, image, "image", lock=True)
            require_role(person, "reviewer")
            if verdict == "cleared" and row.privacy == "unchecked":
                raise TransitionError("a photo must be looked at by the detectors before a person clears it; run them.")
            row.privacy = verdict
            self._log(s, verdict, project=row.project_id, person=person, image=image, reason=reason or None)
            return rows.image(row)

    def clearances(self, project: int) -> dict[int, bool]:
        """Images that were ever cleared, and whether a simulated reviewer did it last."""
        query = sa.select(EventRow.image_id, EventRow.simulated).where(
            EventRow.project_id == project, EventRow.kind == "cleared"
        )
        with self._read() as s:
            found = s.execute(query.order_by(EventRow.id)).all()
        return {image: simulated for image, simulated in found if image is not None}

    def detectors(self, project: int) -> list[str]:
        """Names of the detectors that have looked at a project's photos."""
        with self._read() as s:
            found = s.scalars(sa.select(ImageRow.detectors).where(ImageRow.project_id == project))
            return sorted({name for names in found for name in names})

    def next_to_clear(self, project: int, *, limit: int = 1) -> list[Image]:
        """Photos that detectors have looked at and no person yet."""
        query = sa.select(ImageRow).where(ImageRow.project_id == project, ImageRow.privacy == "found")
        with self._read() as s:
            return [rows.image(row) for row in s.scalars(query.order_by(ImageRow.id).limit(limit))]

    def left_to_clear(self, project: int) -> int:
        """How many photos detectors have looked at and no person yet."""
        query = sa.select(sa.func.count()).where(ImageRow.project_id == project, ImageRow.privacy == "found")
        with self._read() as s:
            return s.scalar(query) or 0

    def _place(self, sha256: str, ending: str) -> Path:
        return self.folder / "images" / sha256[:2] / f"{sha256}{ending}"

    def _region(self, image: int, kind: str, outline: Outline, score: float | None, source: str) -> RegionRow:
        corners = [[float(x), float(y)] for x, y in outline]
        return RegionRow(
            image_id=image,
            kind=kind,
            outline=corners,
            score=score,
            source=source,
            active=True,
            created=self._clock(),
        )


def _regions(s: Session, image: int) -> list[Region]:
    query = sa.select(RegionRow).where(RegionRow.image_id == image).order_by(RegionRow.id)
    return [rows.region(row) for row in s.scalars(query)]


def _free_number(s: Session, project: int, name: str, content: bytes) -> int:
    """The image's number, by its bytes alone where its name's number is taken."""
    taken = sa.select(ImageRow.id).where(ImageRow.project_id == project)
    for candidate in (name, f"photo{PurePath(name).suffix}"):
        number = image_id_for(candidate, content)
        if s.scalar(taken.where(ImageRow.image_id == number)) is None:
            return number
    raise DataError(f"an image's number must be free in its project; that of {name} is taken by other bytes.")
