"""The table of what was said about caching, by project. Answers are in Redis only."""

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orm import Base


class ProjectCache(Base):
    """One project of which something was said."""

    __tablename__ = "project_caches"
    __table_args__ = (CheckConstraint("ttl_seconds > 0", name="ttl_seconds"),)

    project_id: Mapped[str] = mapped_column(Text, ForeignKey("projects.id"), primary_key=True)
    enabled: Mapped[bool] = mapped_column(Boolean)
    ttl_seconds: Mapped[int | None] = mapped_column(Integer)
