"""What the routes of the data engine are made of, and how they get at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Path

from segany.core.errors import LeaseError
from segany.engine.config import ROLES
from segany.service.engine.photos import ProjectPhotos
from segany.service.engine.tries import LoginTries
from segany.service.engine.weights import CURRENT, NAME, Weights, name_of
from segany.service.errors import ApiError
from segany.service.workers import Pool

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.engine.values import User
    from segany.service.parts import Parts

Result = TypeVar("Result")
LARGEST_ID = 2**31 - 1

Id = Annotated[int, Path(ge=1, le=LARGEST_ID, examples=[1])]


@dataclass(frozen=True)
class EngineParts:
    """The data engine behind the routes."""

    store: Store
    pool: Pool
    """Where the store is asked."""
    logins: Pool
    """Where passwords are checked."""
    tries: LoginTries
    photos: ProjectPhotos
    weights: Weights

    async def ask(self, function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """Call one of the store's methods in the pool; from the event loop alone.

        Raises:
            ApiError: 503 when too many questions wait.
        """
        return await self.pool.run(lambda: function(*arguments, **named))

    async def under_lease(self, user: User, task: int, function: Callable[[], Result]) -> Result:
        """Call what needs a task's lease. Somebody who never had to do with the task is told that there is none.

        Raises:
            LeaseError: the lease is over, or another's.
            NotFoundError: no such task.
            ApiError: 404, not their task.
        """
        try:
            return await self.pool.run(function)
        except LeaseError:
            await self.pool.run(self.must_know, user, task)
            raise

    def must_know(self, user: User, task: int) -> None:
        """Somebody has to do with a task: it was theirs once, or they are a reviewer.

        Raises:
            NotFoundError: no such task.
            ApiError: 404, not their task.
        """
        if not self.store.took_part(user.id, task) and ROLES.index(user.role) < ROLES.index("reviewer"):
            raise ApiError(
                404, "not_found", f"expected a task that is or was one's own; got {task}. Claim the next task."
            )

    async def model_name(self, parts: Parts, name: str | None, key: str | None) -> str:
        """The version that a request means.

        Args:
            parts: of the app.
            name: as the request says; None and "current" are the version in use.
            key: of the photo, whose project decides; None is the first project.

        Raises:
            ApiError: 404, no such model.
            NotFoundError: no such version.
        """
        if name is None or name == CURRENT:
            photo = None
            if key is not None:
                known = self.photos.is_known(key)
                photo = self.photos.look_up(key) if known else await self.ask(self.photos.look_up, key)
            version = self.weights.current(photo.project if photo else None)
            return parts.shelf.default if version is None else name_of(version)
        if name in parts.shelf.names or NAME.fullmatch(name) is None or parts.shelf.is_known(name):
            return parts.shelf.check(name)
        parts.shelf.offer(name, await self.ask(self.weights.loader_of, name))
        return name


def engine_of(parts: Any) -> EngineParts:
    """The data engine of an app's parts.

    Raises:
        ApiError: 404, the service has none.
    """
    if parts.project is None:
        raise ApiError(404, "no_project", "expected a service with a project; this one has none. Use --project.")
    found: EngineParts = parts.project
    return found
