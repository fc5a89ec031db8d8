"""The price book for operators: look prices up, and add their own."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.deps import PriceAdminDep
from app.observability.conditional import ConditionalRoute
from app.prices.schemas import Name, NewPrice, PriceList, PriceObject, PricesQuery

router = APIRouter(prefix="/gateway/prices", tags=["Prices"], route_class=ConditionalRoute)


@router.get("", summary="List prices")
async def list_prices(query: Annotated[PricesQuery, Query()], prices: PriceAdminDep) -> PriceList:
    """Return prices by id, shipped ones and your own; with `at`, only those in force then.

    `model` finds the prices of a name and of the patterns that match it. The most exact name counts, then your own
    price before a shipped one, then the newest.
    """
    return PriceList.of(await prices.list_prices(query.filter(), query.paging()))


@router.get("/{price_id:path}", summary="One price")
async def get_price(
    price_id: Annotated[Name, Path(description="As in the `price_id` of a receipt.")], prices: PriceAdminDep
) -> PriceObject:
    """Return one price, such as the one that a call was charged by."""
    return PriceObject.of(await prices.get_price(price_id))


@router.post("", summary="Add a price")
async def create_price(price: NewPrice, prices: PriceAdminDep) -> PriceObject:
    """Charge calls of a model by this price from `valid_from` on, on every replica, until you add a newer one.

    What was charged before stays as it is. `*` prices every model that has no other price. With `"withdrawn": true` it
    ends: then the price that Weir ships with counts, a newer one of a later version too.
    """
    return PriceObject.of(await prices.create_price(price.document(), price.valid_from))
