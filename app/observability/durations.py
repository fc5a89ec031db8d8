"""Many durations at once into a histogram of prometheus_client, which takes one at a time, and two locks for each."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from prometheus_client import Histogram


def observe_all(histogram: Histogram, seconds: Sequence[float | None]) -> None:
    """Observe each of *seconds* in a *histogram* that is bound to its labels, as `observe` does; None is none."""
    known = [each for each in seconds if each is not None]
    if not known:
        return
    bounds, buckets = histogram._upper_bounds, histogram._buckets  # noqa: SLF001 - what `observe` adds to
    histogram._sum.inc(sum(known))  # noqa: SLF001
    for at, count in Counter([bisect_left(bounds, each) for each in known]).items():
        buckets[at].inc(count)
