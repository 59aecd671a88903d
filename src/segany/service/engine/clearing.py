"""De-identification: what detectors found, what a person adds or takes back, and whether a photo may go out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from segany.core.errors import DataError
from segany.service.engine.access import EngineOf, ReviewerOf
from segany.service.engine.bodies import photo_value, region_value
from segany.service.engine.parts import Id
from segany.service.engine.schemas import ClearBody, ClearingAnswer, PrivacyAnswer, RegionBody, RegionInfo

router = APIRouter(tags=["clearing"])


@router.get("/projects/{project}/clearing")
async def next_to_clear(
    engine: EngineOf, person: ReviewerOf, project: Id, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> ClearingAnswer:
    """Photos that detectors have looked at and no person yet."""
    store = engine.store

    def ask() -> dict[str, Any]:
        store.project(project)
        found = []
        for image in store.next_to_clear(project, limit=limit):
            regions = [region_value(region) for region in store.regions(image.id)]
            found.append({"image": photo_value(image), "regions": regions})
        return {"next": found, "remaining": store.left_to_clear(project)}

    return ClearingAnswer.model_validate(await engine.ask(ask))


@router.post("/engine/images/{image}/regions")
async def add_region(engine: EngineOf, person: ReviewerOf, image: Id, body: RegionBody) -> RegionInfo:
    """Blur a part of a photo; a cleared photo has to be cleared anew."""
    store = engine.store

    def add() -> dict[str, Any]:
        photo = store.image(image)
        corners = [(x, y) for x, y in body.outline]
        if not all(0 <= x <= photo.width and 0 <= y <= photo.height for x, y in corners):
            raise DataError(f"an outline must lie in its photo, {photo.width} x {photo.height}; got corners outside.")
        return region_value(store.add_region(person.user.id, image, body.kind, corners))

    return RegionInfo.model_validate(await engine.ask(add))


@router.delete("/engine/regions/{region}", status_code=204)
async def drop_region(engine: EngineOf, person: ReviewerOf, region: Id) -> Response:
    """A part need not be blurred; a cleared photo has to be cleared anew."""
    await engine.ask(engine.store.drop_region, person.user.id, region)
    return Response(status_code=204)


@router.post("/engine/images/{image}/clear")
async def clear_photo(engine: EngineOf, person: ReviewerOf, image: Id, body: ClearBody) -> PrivacyAnswer:
    """Whether a photo, with its regions blurred, may go out."""
    if body.verdict == "withheld" and not body.reason.strip():
        raise DataError("a photo is withheld only with a reason; got none. Say why in a few words.")
    clear = engine.store.clear_image
    found = await engine.ask(clear, person.user.id, image, verdict=body.verdict, reason=body.reason)
    return PrivacyAnswer(privacy=found.privacy)
