"""Who ordered what of loudspeakers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("speaker_order", sa.Column("jti", sa.String(40), nullable=False, server_default=""))
    op.add_column("speaker_order", sa.Column("ordered_by", sa.String(100), nullable=False, server_default=""))
    op.add_column("speaker_order", sa.Column("play", sa.String(80), nullable=False, server_default=""))
    op.create_index(op.f("ix_speaker_order_play"), "speaker_order", ["play"])


def downgrade() -> None:
    op.drop_index(op.f("ix_speaker_order_play"), "speaker_order")
    with op.batch_alter_table("speaker_order") as table:
        table.drop_column("play")
        table.drop_column("ordered_by")
        table.drop_column("jti")
