"""Registry versions and playback events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "registry_version",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("taken_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_registry_version")),
    )
    op.create_table(
        "playback_event",
        sa.Column("node", sa.String(63), nullable=False),
        sa.Column("boot", sa.String(32), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("play", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("level_dbfs", sa.Float(), nullable=True),
        sa.Column("exercise", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", "boot", "seq", name=op.f("pk_playback_event")),
    )
    op.create_index(op.f("ix_playback_event_node_at_ms"), "playback_event", ["node", "at_ms"])
    op.create_index(op.f("ix_playback_event_play"), "playback_event", ["play"])


def downgrade() -> None:
    op.drop_table("playback_event")
    op.drop_table("registry_version")
