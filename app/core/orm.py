"""The declarative base of every table, with names of constraints that migrations rely on; pages and rows of queries."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from sqlalchemy import MetaData, Row, Select, literal, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute

from app.core.pagination import Paging

_NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
_ROWS_AT_ONCE: Final = 500


class Base(DeclarativeBase):
    """What every table's class derives from."""

    metadata = MetaData(naming_convention=_NAMING)


def paged(
    query: Select[Any], keys: Sequence[InstrumentedAttribute[Any]], after: Sequence[Any] | None, paging: Paging
) -> Select[Any]:
    """Return *query* in the order of *keys*, from behind the row with the values *after*, and one row more."""
    is_ascending = paging.order == "asc"
    if after is not None:
        here, there = tuple_(*keys), tuple_(*(literal(value) for value in after))
        query = query.where(here > there if is_ascending else here < there)
    return query.order_by(*(key.asc() if is_ascending else key.desc() for key in keys)).limit(paging.limit + 1)


async def rows_of(tx: AsyncConnection, query: Select[*tuple[Any, ...]]) -> AsyncIterator[Row[*tuple[Any, ...]]]:
    """Yield the rows of *query*, few at a time: to take 100,000 at once would stop all calls for half a second."""
    async with tx.stream(query, execution_options={"yield_per": _ROWS_AT_ONCE}) as result:
        async for part in result.partitions():
            for row in part:
                yield row
