"""Indexes by which the next task of a long queue is found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision: str | None = "v0001"
branch_labels: str | None = None
depends_on: str | None = None

UNFINISHED = "state IN ('queued', 'rejected', 'leased')"


def upgrade() -> None:
    """Make them."""
    op.create_index("ix_task_author_id", "task", ["author_id"], unique=False)
    op.create_index("ix_task_holder_id", "task", ["holder_id"], unique=False)
    op.create_index(
        "ix_task_next",
        "task",
        ["project_id", sa.text("mending DESC"), sa.text("priority DESC"), "id"],
        unique=False,
        postgresql_where=sa.text(UNFINISHED),
        sqlite_where=sa.text(UNFINISHED),
    )
