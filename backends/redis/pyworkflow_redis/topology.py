"""Which server a bucket is on: the one there is, the one that sentinels name, or a node of a cluster."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

from .connections import Lost, Server, Tls, Unreachable
from .options import Address, Options, Target

Reroute = Callable[[Address], Address]
"""Where to connect to instead of an address that a sentinel or a node told."""


class Topology(ABC):
    """Knows the servers, and which of them is whose primary."""

    def __init__(self, target: Target, options: Options, reroute: Reroute) -> None:
        self._target = target
        self._options = options
        self._reroute = reroute
        self._servers: dict[Address, Server] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._closed = False
        self._tls = Tls()

    @abstractmethod
    async def _refresh(self) -> None:
        """Find out anew.

        Raises:
            Unreachable: nobody tells.
        """

    @abstractmethod
    def server_of(self, slot: int) -> Server:
        """The primary of a slot."""

    @property
    @abstractmethod
    def primaries(self) -> list[Server]:
        """Every primary."""

    async def refresh(self) -> None:
        """Find out anew who is primary; all who ask meanwhile wait for one finding out.

        Raises:
            Unreachable: nobody tells.
        """
        if self._closed:
            raise Unreachable("the handle is closed")
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
            self._refreshing.add_done_callback(_notice)
        await asyncio.shield(self._refreshing)

    def _at(self, address: Address) -> Server:
        if address not in self._servers:
            # A node of a cluster says so itself if it is not the primary of a slot.
            alone = self._target.kind != "cluster"
            connect = self._target.connect
            self._servers[address] = Server(
                self._reroute(address), connect, self._options, self._tls, only_primary=alone
            )
        return self._servers[address]

    async def _ask_any(self, known: list[Server], command: tuple[Any, ...]) -> Any:
        """The answer of the first who gives one."""
        problem = "nobody to ask"
        for server in known:
            try:
                (answer,) = await server.ask(command)
            except (Unreachable, Lost) as error:
                problem = str(error)
                continue
            if isinstance(answer, Exception):
                problem = f"{server}: {answer}"
            elif answer:
                return answer
            else:
                problem = f"{server} does not know {self._target.service!r}"
        raise Unreachable(problem)

    async def _keep_only(self, addresses: set[Address]) -> None:
        for address in set(self._servers) - addresses:
            await self._servers.pop(address).close()

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        for server in self._everybody():
            await server.close()

    def abandon(self) -> None:
        """Let go of connections of another event loop."""
        for server in self._everybody():
            server.abandon()

    def _everybody(self) -> list[Server]:
        return list(self._servers.values())


class Alone(Topology):
    """One server; what is behind its address is somebody else's business."""

    async def _refresh(self) -> None:
        await self._at(self._target.addresses[0]).forget()

    def server_of(self, slot: int) -> Server:
        """The server."""
        return self._at(self._target.addresses[0])

    @property
    def primaries(self) -> list[Server]:
        """The server."""
        return [self.server_of(0)]


class Sentinels(Topology):
    """The primary that sentinels name."""

    def __init__(self, target: Target, options: Options, reroute: Reroute) -> None:
        super().__init__(target, options, reroute)
        tls = Tls()
        self._sentinels = [Server(address, target.ask, options, tls) for address in target.addresses]
        self._primary: Server | None = None

    async def _refresh(self) -> None:
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._target.service)
        host, port = await self._ask_any(self._sentinels, command)
        address = host.decode(), int(port)
        self._primary = self._at(address)
        await self._primary.forget()
        await self._keep_only({address})

    def server_of(self, slot: int) -> Server:
        """The primary."""
        if self._primary is None:
            raise Unreachable("no sentinel has named a primary yet")
        return self._primary

    @property
    def primaries(self) -> list[Server]:
        """The primary."""
        return [self.server_of(0)]

    def _everybody(self) -> list[Server]:
        return [*super()._everybody(), *self._sentinels]


class Cluster(Topology):
    """The nodes of a cluster."""

    def __init__(self, target: Target, options: Options, reroute: Reroute) -> None:
        super().__init__(target, options, reroute)
        self._starts: list[int] = []
        self._shares: list[tuple[int, Server]] = []  # last slot and primary, in the order of `_starts`

    async def _refresh(self) -> None:
        seeds = [self._at(address) for address in self._target.addresses]
        known = [*dict.fromkeys(server for _, server in self._shares), *seeds]
        answer = await self._ask_any(known, ("CLUSTER", "SLOTS"))
        shares = []
        for first, last, (host, port, *_), *_ in sorted(answer, key=lambda share: share[0]):
            # An empty host means: as you have reached me.
            address = (host.decode() if host else known[0].address[0], int(port))
            shares.append((int(first), int(last), self._at(address)))
        self._starts = [first for first, _, _ in shares]
        self._shares = [(last, server) for _, last, server in shares]

    def server_of(self, slot: int) -> Server:
        """The primary of a slot."""
        place = bisect_right(self._starts, slot) - 1
        if place >= 0:
            last, server = self._shares[place]
            if slot <= last:
                return server
        raise Unreachable(f"no node of the cluster has slot {slot}")

    @property
    def primaries(self) -> list[Server]:
        """Every node that has slots."""
        return list(dict.fromkeys(server for _, server in self._shares))


def _notice(task: asyncio.Task[None]) -> None:
    """See how it ended, although all who asked may be gone."""
    if not task.cancelled():
        task.exception()


_KINDS: Mapping[str, type[Topology]] = {"server": Alone, "sentinel": Sentinels, "cluster": Cluster}


def make_topology(target: Target, options: Options, reroute: Reroute | None = None) -> Topology:
    """What the URL names; `reroute` says where to connect to instead of addresses that servers tell."""
    return _KINDS[target.kind](target, options, reroute or (lambda address: address))
