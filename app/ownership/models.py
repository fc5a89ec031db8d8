"""The table of who owns what is stored upstream; no content in it, only ids."""

from datetime import datetime

from sqlalchemy import DateTime, Index, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class OwnedObjectRow(Base):
    """One object. Of one upstream an id has one owner, the first: an id that is seen again does not change hands."""

    __tablename__ = "owned_objects"
    __table_args__ = (
        UniqueConstraint("object_id", "upstream"),
        Index("ix_owned_objects_kind_created_at", "kind", "created_at"),
        # What is made for every call is not listed.
        Index(
            "ix_owned_objects_project_id_kind_upstream",
            "project_id",
            "kind",
            "upstream",
            postgresql_where=text("kind NOT IN ('response', 'item')"),
        ),
    )

    project_id: Mapped[str] = mapped_column(Text, primary_key=True)
    object_id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    upstream: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
