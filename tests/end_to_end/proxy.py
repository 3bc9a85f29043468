"""A bad network on loopback: a proxy that delays, cuts or swallows traffic."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Network:
    """What the proxy does to new connections."""

    target: int  # port on loopback
    delay_s: float = 0.0  # each way
    cut_after: int | None = None  # bytes from the client; after them both sides are reset, once
    swallow_after: int | None = None  # bytes from the client; after them nothing passes, either way
    call_after: int | None = None  # bytes from the client; after them `call` is called, once
    call: Callable[[], object] = int
    port: int = 0
    sent: int = 0  # bytes from clients so far
    trips: int = 0  # with a delay: how often a client waited for an answer before it continued
    never: asyncio.Event = field(
        default_factory=asyncio.Event
    )  # keeps tasks that wait for ever from being garbage-collected

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connect, "127.0.0.1", self.port, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=1 << 20)
        hole = asyncio.Event()  # once set, nothing passes any more
        there = asyncio.ensure_future(self._pipe(reader, far_writer, hole, counted=True))
        back = asyncio.ensure_future(self._pipe(far_reader, writer, hole, counted=False))
        both, reset = {there, back}, True
        with contextlib.suppress(asyncio.CancelledError):  # at the end of the test
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            reset = hole.is_set() or (there.done() and there.result())
            if not reset and not back.done():
                with contextlib.suppress(OSError):
                    far_writer.write_eof()
                await asyncio.wait({back}, timeout=1)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        for end in (writer, far_writer):
            end.transport.abort() if reset else end.close()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hole: asyncio.Event, *, counted: bool
    ) -> bool:
        """Forward data until the stream ends. Returns True if the connection is to be cut."""
        loop = asyncio.get_running_loop()
        passed, went_on_at = 0, loop.time()
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if counted:
                    passed += len(data)
                    self.sent += len(data)
                    if (
                        loop.time() > went_on_at + 1.8 * self.delay_s
                    ):  # data that comes sooner did not wait for an answer
                        self.trips += 1
                        went_on_at = loop.time()
                    if self.cut_after is not None and passed >= self.cut_after:
                        self.cut_after = None
                        return True
                    if self.swallow_after is not None and passed >= self.swallow_after:
                        hole.set()
                    if self.call_after is not None and passed >= self.call_after:
                        self.call_after = None
                        self.call()
                if hole.is_set():
                    await self.never.wait()
                if self.delay_s:
                    loop.call_later(self.delay_s, writer.write, data)
                else:
                    writer.write(data)
                    await writer.drain()
        if self.delay_s:
            await asyncio.sleep(self.delay_s * 1.5)
        return False


@contextlib.contextmanager
def bad_network(target: int) -> Iterator[Network]:
    """Run a proxy in a thread until the block ends."""
    network, loop = Network(target), asyncio.new_event_loop()
    server = loop.run_until_complete(network.serve())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def close() -> None:
        server.close()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    try:
        yield network
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _main(target: int, delay_s: float) -> None:
    network = Network(target, delay_s)
    server = await network.serve()
    print(network.port, flush=True)
    await server.serve_forever()


if __name__ == "__main__":  # TARGET_PORT DELAY_S: a separate process, for benchmarks
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2])))
