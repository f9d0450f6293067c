"""A proxy that cuts connections at chosen moments, before a server that repeats lines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pyworkflow_core.testing.proxy import Cut, Moment, Proxy

Asks = Callable[[Proxy, list[bytes]], Awaitable[None]]


def with_server(test: Asks) -> list[bytes]:
    """Run a test with a proxy before a server that answers each line with itself; the lines it had."""

    async def main() -> list[bytes]:
        heard: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                heard.append(line)
                if line.endswith(b"\n"):
                    writer.write(line)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with Proxy(*server.sockets[0].getsockname()) as proxy:
            await test(proxy, heard)
        server.close()
        return heard

    return asyncio.run(main())


async def ask(
    proxy: Proxy, *lines: bytes, reuse: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
) -> list[bytes]:
    """The answers to lines on one connection; what came of the last one if it was cut."""
    reader, writer = reuse or await asyncio.open_connection(proxy.host, proxy.port)
    answers = []
    try:
        for line in lines:
            writer.write(line)
            answers.append(await reader.readline())
    except ConnectionError:
        answers.append(b"")
    if reuse is None:
        writer.close()
    return answers


def test_lines_pass_both_ways_and_are_counted() -> None:
    async def test(proxy: Proxy, heard: list[bytes]) -> None:
        assert await ask(proxy, b"one\n", b"two\n") == [b"one\n", b"two\n"]
        assert await ask(proxy, b"three\n") == [b"three\n"]
        assert proxy.exchanges == 3
        await proxy.heal()
        assert proxy.exchanges == 0

    assert with_server(test) == [b"one\n", b"two\n", b"three\n"]


@pytest.mark.parametrize(
    ("moment", "answer", "had"),
    [
        (Moment.BEFORE, b"", []),
        (Moment.WITHIN, b"", [b"sec"]),
        (Moment.AFTER, b"", [b"second\n"]),
        (Moment.ANSWERING, b"sec", [b"second\n"]),
    ],
)
@pytest.mark.parametrize("down", [False, True])
def test_a_connection_is_cut_once_at_each_moment(
    moment: Moment, answer: bytes, had: list[bytes], down: bool
) -> None:
    async def test(proxy: Proxy, heard: list[bytes]) -> None:
        await proxy.cut(Cut(2, moment, down))
        assert await ask(proxy, b"first\n", b"second\n") == [b"first\n", answer]
        assert await ask(proxy, b"third\n") == [b"" if down else b"third\n"]
        await proxy.heal()
        assert await ask(proxy, b"fourth\n") == [b"fourth\n"]

    after = [b"fourth\n"] if down else [b"third\n", b"fourth\n"]
    assert with_server(test) == [b"first\n", *had, *after]


def test_other_connections_are_cut_only_when_the_server_goes() -> None:
    async def test(proxy: Proxy, heard: list[bytes]) -> None:
        for down, then in ((False, b"again\n"), (True, b"")):
            other = await asyncio.open_connection(proxy.host, proxy.port)
            assert await ask(proxy, b"here\n", reuse=other) == [b"here\n"]
            await proxy.cut(Cut(1, Moment.BEFORE, down))
            await ask(proxy, b"cut\n")
            assert await ask(proxy, b"again\n", reuse=other) == [then]
            other[1].close()

    with_server(test)


def test_a_cut_that_was_called_off_is_not_made() -> None:
    async def test(proxy: Proxy, heard: list[bytes]) -> None:
        await proxy.cut(Cut(2, Moment.AFTER))
        assert await ask(proxy, b"one\n") == [b"one\n"]
        await proxy.heal()
        assert await ask(proxy, b"two\n", b"three\n") == [b"two\n", b"three\n"]

    with_server(test)


def test_answers_are_held_back_until_they_are_let_go() -> None:
    async def test(proxy: Proxy, heard: list[bytes]) -> None:
        await proxy.hold()
        asking = asyncio.create_task(ask(proxy, b"one\n"))
        assert await proxy.held()
        assert heard == [b"one\n"]
        assert not asking.done()
        await proxy.heal()
        assert await asking == [b"one\n"]

    with_server(test)


def test_new_connections_are_refused_until_it_heals() -> None:
    async def test(proxy: Proxy, heard: list[bytes]) -> None:
        await proxy.refuse()
        assert await ask(proxy, b"one\n") == [b""]
        await proxy.heal()
        assert await ask(proxy, b"two\n") == [b"two\n"]

    assert with_server(test) == [b"two\n"]


def test_without_a_server_a_connection_ends_at_once() -> None:
    async def main() -> list[bytes]:
        async with Proxy("127.0.0.1", 1) as proxy:
            return await ask(proxy, b"one\n")

    assert asyncio.run(main()) == [b""]
