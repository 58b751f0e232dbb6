"""Runs several calls at a time, in threads that end with the process.

At exit Python waits for the threads of `concurrent.futures`, so Ctrl-C would wait for a server that
does not answer.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(
    function: Callable[[T], R],
    items: Iterable[T],
    most: int,
    stop: Callable[[], None] = lambda: None,
) -> list[R]:
    """The results in the order of the items, of which at most `most` are worked on at a time.

    Raises the first error, after `stop` was called and running calls have ended. An interruption
    does not wait for these.
    """
    todo: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
    for pair in enumerate(items):
        todo.put(pair)
    results: list[Any] = [None] * todo.qsize()
    gives_up = threading.Event()

    def work() -> None:
        while not gives_up.is_set():
            try:
                index, item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((index, function(item), None))
            except BaseException as error:
                gives_up.set()  # before the next call begins
                ended.put((index, None, error))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(most, len(results)))]
    for thread in threads:
        thread.start()
    try:
        for _ in results:
            index, result, error = ended.get()
            if error is not None:
                raise error
            results[index] = result
    except BaseException as error:
        gives_up.set()
        stop()
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            for thread in threads:
                thread.join()
        raise
    return results
