"""The annotation document: one JSON per image with its masks and how each of them came to be.

It is the page's save file and the data engine's unit. A document is at the same time an SA-1B file: readers
that know nothing of interactions read its masks.
"""

# H, W image height and width

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from segany.core.errors import DataError
from segany.core.files import atomic_write_text
from segany.records import _checks as check
from segany.records.gesture import Gesture, not_known, utc_time
from segany.records.record import ImageRecord, MaskRecord

FORMAT = "segany-annotation 1"
"""The value of ``format`` in every document."""

Source: TypeAlias = Literal["manual", "model", "automatic", "imported"]
"""What a mask of a document comes from: a brush alone, prompts, the automatic sweep, another file."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_IMAGE = ("image_id", "width", "height", "file_name", "sha256")
_INTERACTION = ("prompts", "created", "modified", "active_seconds", "chosen", "model")
_VIEW = ("colour", "hidden")
_DOCUMENT = ("format", "image", "created", "modified", "active_seconds", "annotations")


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """How a mask came to be. Building one checks it; what is wrong raises `DataError`."""

    created: str
    """ISO-8601 time in UTC of the first prompt."""
    modified: str
    """ISO-8601 time in UTC of the last change."""
    active_seconds: float = 0.0
    """Seconds a person worked on the mask; pauses are not counted."""
    prompts: tuple[Gesture, ...] = ()
    """Everything the person said, in order."""
    chosen: int | None = None
    """Which of the model's candidates the person took; None when there was no choice."""
    model: str | None = None
    """Fingerprint of the model; None for a mask no model made."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys a reader did not know; written back unchanged."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        utc_time("created", self.created)
        utc_time("modified", self.modified)
        put(self, "active_seconds", check_seconds("active_seconds", self.active_seconds))
        put(self, "prompts", tuple(self.prompts))
        for index, prompt in enumerate(self.prompts):
            if not isinstance(prompt, Gesture):
                raise DataError(f"prompts must be Gestures; number {index} is {check.shown(prompt)}.")
        if self.chosen is not None:
            put(self, "chosen", check.integer("chosen", self.chosen))
        if self.model is not None:
            check.text("model", self.model)
        put(self, "extra", not_known(self.extra, _INTERACTION))

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The interaction of a document's annotation.

        Raises:
            DataError: a key is missing or a value wrong; the message names the prompt.
        """
        known = check.mapping("interaction", value)
        check.need("interaction", known, _INTERACTION)
        prompts = []
        for index, prompt in enumerate(check.listing("prompts", known.pop("prompts"))):
            try:
                prompts.append(Gesture.from_json(prompt))
            except DataError as error:
                raise DataError(f"prompt {index}: {error}") from error
        extra = {key: known.pop(key) for key in list(known) if key not in _INTERACTION}
        return cls(prompts=tuple(prompts), extra=extra, **known)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        known = {key: getattr(self, key) for key in _INTERACTION}
        return {**known, "prompts": [prompt.to_json() for prompt in self.prompts], **self.extra}

    @property
    def clicks(self) -> int:
        """Points and boxes: what costs a person a click or a drag. Strokes and automatic prompts are not counted."""
        return sum(prompt.kind in ("point", "box") for prompt in self.prompts)


@dataclass(frozen=True, kw_only=True)
class View:
    """How the page shows a mask."""

    colour: str
    """#rrggbb."""
    hidden: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys a reader did not know; written back unchanged."""

    def __post_init__(self) -> None:
        if not _COLOUR.fullmatch(check.text("colour", self.colour)):
            raise DataError(f"colour must be #rrggbb; got {check.shown(self.colour)}.")
        if not isinstance(self.hidden, bool):
            raise DataError(f"hidden must be true or false; got {check.shown(self.hidden)}.")
        object.__setattr__(self, "extra", not_known(self.extra, _VIEW))

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The view of a document's annotation.

        Raises:
            DataError: a key is missing or a value wrong.
        """
        known = check.mapping("view", value)
        check.need("view", known, _VIEW)
        extra = {key: known.pop(key) for key in list(known) if key not in _VIEW}
        return cls(**known, extra=extra)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"colour": self.colour, "hidden": self.hidden, **self.extra}


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One mask of a document."""

    mask: MaskRecord
    """The mask with an `id`; its `source`, where set, is one of `Source`."""
    interaction: Interaction
    view: View | None = None

    def __post_init__(self) -> None:
        if self.mask.id is None:
            raise DataError("every mask of an annotation document must have an id; got none. Number them from 0.")
        if self.mask.source is not None and self.mask.source not in get_args(Source):
            raise DataError(
                f"source must be one of {', '.join(get_args(Source))}; got {check.shown(self.mask.source)}. "
                "Leave it out when it is not known."
            )
        not_known(self.mask.extra, ("interaction", "view"))

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """One entry of ``annotations``.

        Raises:
            DataError: a key is missing or a value wrong.
        """
        known = check.mapping("an annotation", value)
        check.need("an annotation", known, ("id", "interaction"))
        interaction = Interaction.from_json(known.pop("interaction"))
        view = known.pop("view", None)
        return cls(
            mask=MaskRecord.from_dict(known),
            interaction=interaction,
            view=None if view is None else View.from_json(view),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the mask's first."""
        shown = {} if self.view is None else {"view": self.view.to_json()}
        return {"id": self.mask.id, **self.mask.to_dict(), "interaction": self.interaction.to_json(), **shown}


@dataclass(frozen=True, kw_only=True)
class AnnotationDocument:
    """An image, its masks and their history. Building one checks it; what is wrong raises `DataError`."""

    image_id: int
    """See `segany.records.ids.image_id_for`."""
    width: int
    height: int
    file_name: str
    sha256: str
    """Of the image file's bytes, 64 small hexadecimal digits."""
    created: str
    """ISO-8601 time in UTC."""
    modified: str
    """ISO-8601 time in UTC."""
    active_seconds: float = 0.0
    """Seconds a person worked on the image; pauses are not counted."""
    annotations: tuple[Annotation, ...] = ()
    image_extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the image a reader did not know; written back unchanged."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the document a reader did not know; written back unchanged."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name, low in (("image_id", 0), ("width", 1), ("height", 1)):
            put(self, name, check.integer(name, getattr(self, name), low=low))
        check.text("file_name", self.file_name)
        if not _SHA256.fullmatch(check.text("sha256", self.sha256)):
            raise DataError(f"sha256 must be 64 small hexadecimal digits; got {check.shown(self.sha256)}.")
        utc_time("created", self.created)
        utc_time("modified", self.modified)
        put(self, "active_seconds", check_seconds("active_seconds", self.active_seconds))
        put(self, "annotations", tuple(self.annotations))
        put(self, "image_extra", not_known(self.image_extra, _IMAGE))
        put(self, "extra", not_known(self.extra, _DOCUMENT))
        self._check_annotations()

    def _check_annotations(self) -> None:
        seen: set[int | None] = set()
        for index, one in enumerate(self.annotations):
            if not isinstance(one, Annotation):
                raise DataError(f"annotations must be Annotations; number {index} is {check.shown(one)}.")
            if one.mask.size_hw != self.size_hw:
                raise DataError(
                    f"all masks must have the image's size (H, W) = {self.size_hw}; number {index} has "
                    f"{one.mask.size_hw}. Check that it belongs to {self.file_name}."
                )
            if one.mask.id in seen:
                raise DataError(
                    f"ids of one document's masks must differ; {one.mask.id} comes twice. Number them anew."
                )
            seen.add(one.mask.id)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def clicks(self) -> int:
        """Points and boxes over all masks."""
        return sum(one.interaction.clicks for one in self.annotations)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The document of plain JSON values; unknown keys are kept.

        Raises:
            DataError: another format, a key is missing or a value wrong; the message names the annotation.
        """
        known = check.mapping("an annotation document", value)
        check.need("an annotation document", known, _DOCUMENT)
        if known["format"] != FORMAT:
            raise DataError(
                f"format must be {FORMAT!r}; got {check.shown(known['format'])}. The file is of another kind, or of "
                "a newer release: update segany."
            )
        image = check.mapping("image", known["image"])
        check.need("image", image, _IMAGE)
        annotations = []
        for index, annotation in enumerate(check.listing("annotations", known["annotations"])):
            try:
                annotations.append(Annotation.from_json(annotation))
            except DataError as error:
                raise DataError(f"annotation {index}: {error}") from error
        return cls(
            **{key: image.pop(key) for key in _IMAGE},
            **{key: known[key] for key in ("created", "modified", "active_seconds")},
            annotations=tuple(annotations),
            image_extra=image,
            extra={key: item for key, item in known.items() if key not in _DOCUMENT},
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "format": FORMAT,
            "image": {**{key: getattr(self, key) for key in _IMAGE}, **self.image_extra},
            "created": self.created,
            "modified": self.modified,
            "active_seconds": self.active_seconds,
            "annotations": [one.to_json() for one in self.annotations],
            **self.extra,
        }

    def to_record(self) -> ImageRecord:
        """The image and its masks without their history."""
        return ImageRecord(
            image_id=self.image_id,
            width=self.width,
            height=self.height,
            file_name=self.file_name,
            annotations=tuple(one.mask for one in self.annotations),
        )


def check_seconds(name: str, value: Any) -> float:
    """A number of seconds, 0 or more."""
    seconds = float(check.number(name, value))
    if seconds < 0:
        raise DataError(f"{name} must be 0 or more seconds; got {seconds}.")
    return seconds


def read_annotation(path: Path) -> AnnotationDocument:
    """Read one document.

    Raises:
        DataError: no such file, not JSON, or no annotation document; the message names the file and the annotation.
    """
    try:
        return AnnotationDocument.from_json(check.read_json(Path(path)))
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error


def write_annotation(document: AnnotationDocument, path: Path) -> Path:
    """Write one document; the file is whole or not there.

    Raises:
        DataError: something inside is not plain JSON.
    """
    atomic_write_text(path, check.to_json(document.to_json()))
    return path
