"""Real database servers for the tests: fetched once, started on free ports, and gone without a trace.

    with serve("postgresql") as server:
        connect(server.url)
        server.restart()  # kill -9, and up again on the same port with the same data

Nothing needs root, Docker or a server that happens to run. `python tests/servers --help` says how to use
one from a shell.

Modules: `fetch` brings the programs, `kinds` knows which servers there are, `keeper` is the process that
owns one of them, `server` is its handle for tests, and `fixtures` makes pytest fixtures of them.
"""

from .server import NotKillable, Server, Unavailable, serve

__all__ = ["NotKillable", "Server", "Unavailable", "serve"]
