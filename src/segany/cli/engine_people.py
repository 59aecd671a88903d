"""`segany engine tokens`: the logins and tokens of a person, and their end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from segany.cli.console import show, table
from segany.cli.engine_where import Where
from segany.core.errors import NotFoundError


def tokens(
    folder: Path,
    name: str,
    /,
    *,
    end: Annotated[
        list[int] | None, Parameter(help="Number of one that is to end; may be repeated.", negative="")
    ] = None,
    where: Where | None = None,
) -> int:
    """List the logins and tokens of a person that are still good, or end some. Their secrets are not kept.

    Args:
        folder: of the data engine.
        name: of the account.
    """
    with (where or Where()).open(folder) as (store, _):
        user = next((one.id for one in store.users() if one.name == name), None)
        if user is None:
            raise NotFoundError(f"expected an account named {name!r}; there is none. See: segany engine users.")
        for number in end or ():
            store.end_token(user, number)
        rows = [
            [f"{one.id}", one.label, f"{one.created:%Y-%m-%d %H:%M}", f"{one.expires:%Y-%m-%d %H:%M}"]
            for one in store.tokens(user)
            if not one.over
        ]
    show(table(["number", "for", "made (UTC)", "until (UTC)"], rows) if rows else f"{name} has no login and no token")
    return 0


def add_people(engine: App) -> None:
    """Hang the commands into `segany engine`."""
    engine.command(tokens)
