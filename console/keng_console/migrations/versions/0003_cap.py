"""CAP messages that were issued and that came in, and commands to loudspeakers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cap_issued",
        sa.Column("identifier", sa.String(200), nullable=False),
        sa.Column("alert", sa.String(63), nullable=False),
        sa.Column("sender", sa.String(200), nullable=False),
        sa.Column("sent", sa.String(40), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("msg_type", sa.String(16), nullable=False),
        sa.Column("level", sa.BigInteger(), nullable=False),
        sa.Column("meaning", sa.String(80), nullable=False),
        sa.Column("headline", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("identifier", name=op.f("pk_cap_issued")),
    )
    op.create_index(op.f("ix_cap_issued_alert_sent_ms"), "cap_issued", ["alert", "sent_ms"])
    op.create_index(op.f("ix_cap_issued_sent_ms"), "cap_issued", ["sent_ms"])
    op.create_table(
        "cap_received",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("signer", sa.String(63), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("sent", sa.Text(), nullable=False),
        sa.Column("msg_type", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("bulletin", sa.String(16), nullable=False),
        sa.Column("zones", sa.Text(), nullable=False),
        sa.Column("play", sa.String(80), nullable=False),
        sa.Column("headline", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cap_received")),
    )
    op.create_index(op.f("ix_cap_received_identifier"), "cap_received", ["identifier"])
    op.create_index(op.f("ix_cap_received_signer_id"), "cap_received", ["signer", "id"])
    op.create_table(
        "speaker_order",
        sa.Column("ctr", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("ctr", name=op.f("pk_speaker_order")),
    )


def downgrade() -> None:
    op.drop_table("speaker_order")
    op.drop_table("cap_received")
    op.drop_table("cap_issued")
