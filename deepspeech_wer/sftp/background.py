"""Work beside the program, which ends without waiting for it: the threads of an executor are waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def begun(work: Callable[[], T]) -> Future[T]:
    """What `work` will return, or raise; begun at once."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result
