"""Commands to edge nodes, and their answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "edge_order",
        sa.Column("ctr", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("jti", sa.String(40), nullable=False),
        sa.Column("node", sa.String(63), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("ordered_by", sa.String(63), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=False),
        sa.Column("boot", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("ctr", name=op.f("pk_edge_order")),
        sa.UniqueConstraint("jti", name=op.f("uq_edge_order_jti")),
    )
    op.create_index(op.f("ix_edge_order_node_ctr"), "edge_order", ["node", "ctr"])
    op.create_table(
        "edge_answer",
        sa.Column("node", sa.String(63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("jti", sa.String(40), nullable=False),
        sa.Column("heard_ms", sa.BigInteger(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", "at_ms", name=op.f("pk_edge_answer")),
    )
    op.create_index(op.f("ix_edge_answer_jti"), "edge_answer", ["jti"])


def downgrade() -> None:
    op.drop_table("edge_answer")
    op.drop_table("edge_order")
