"""Work on many photos or frames on all cores, in threads: NumPy, Pillow and LiteRT let each other run."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")
MOST_AT_ONCE = 8  # items that are worked at at the same time; bounds the memory


def in_order(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `work` makes of each of `items`, in their order.

    At most one more than is worked at is taken from `items`, so that they may be many, and are made ahead. Whoever
    stops early, by Ctrl-C too, waits for what is being made; nothing new is begun.

    Args:
      work: function of one item, which must not mind being called from threads.
      items: read in the caller's thread.
    """
    # One more than cores, because Python lets one thread at a time think; and NumPy's own threads would only wait for
    # each other.
    workers = min(os.cpu_count() or 1, MOST_AT_ONCE) + 1
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
