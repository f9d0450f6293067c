"""What goes to each database for the programs of `test_counts`, each entry sent and waited for so many times.

SQLite is asked in this process, and statements are counted; elsewhere an entry is one trip to the server.
"""

from __future__ import annotations

# A run is locked by the beginning of the transaction, looked at, and written with its events.
SQLITE = {
    "20 more steps": {"BEGIN": 20, "SELECT": 20, "UPDATE": 20, "INSERT": 40, "COMMIT": 20},
    "a run without steps": {"BEGIN": 1, "SELECT": 1, "INSERT": 3, "COMMIT": 1},
    "100 steps at once": {"BEGIN": 2, "SELECT": 2, "UPDATE": 1, "INSERT": 203, "COMMIT": 2},
    "a run for a worker": {"BEGIN": 1, "SELECT": 1, "INSERT": 2, "COMMIT": 1},
    "a sleep": {"BEGIN": 1, "SELECT": 1, "INSERT": 4, "COMMIT": 1},
    "a hook": {"BEGIN": 1, "SELECT": 1, "INSERT": 4, "COMMIT": 1},
    "an answer to a hook": {"BEGIN": 1, "SELECT": 3, "UPDATE": 1, "INSERT": 1, "COMMIT": 1},
    "a run taken up": {"BEGIN": 3, "SELECT": 4, "UPDATE": 3, "INSERT": 2, "COMMIT": 3},
    "1,000 steps taken up": {"BEGIN": 3, "SELECT": 4, "UPDATE": 3, "INSERT": 4, "COMMIT": 3},
    "1,000 steps resumed": {"BEGIN": 3, "SELECT": 5, "UPDATE": 3, "INSERT": 3, "COMMIT": 3},
    "ten runs claimed": {"BEGIN": 1, "WITH": 1, "SELECT": 1, "UPDATE": 10, "COMMIT": 1},
}

# Each call of the contract is one statement, and one trip: a WITH compares, locks and writes all of a commit.
POSTGRESQL = {
    "20 more steps": {"WITH": 20},
    "a run without steps": {"WITH": 1},
    "100 steps at once": {"WITH": 2},
    "a run for a worker": {"WITH": 1},
    "a sleep": {"WITH": 1},
    "a hook": {"WITH": 1},
    "an answer to a hook": {"SELECT": 2, "WITH": 1},
    "a run taken up": {"UPDATE": 1, "SELECT": 1, "WITH": 2},
    "1,000 steps taken up": {"UPDATE": 1, "SELECT": 1, "WITH": 2},
    "1,000 steps resumed": {"SELECT": 2, "UPDATE": 1, "WITH": 2},
    "ten runs claimed": {"WITH": 1},
}

# A commit is two trips: what to write depends on the rows that the first one locks, and this database has
# no statement that writes two tables. What needs no answer goes with what does: all writes with the end.
_LOOK, _WRITE, _LEASE = "START TRANSACTION; SELECT", "INSERT; INSERT; COMMIT", "INSERT; COMMIT"
MARIADB = {
    "20 more steps": {_LOOK: 20, _WRITE: 20},
    "a run without steps": {_LOOK: 1, _WRITE: 1},
    "100 steps at once": {_LOOK: 2, _WRITE: 2},
    "a run for a worker": {_LOOK: 1, _WRITE: 1},
    "a sleep": {_LOOK: 1, _WRITE: 1},
    "a hook": {_LOOK: 1, _WRITE: 1},
    "an answer to a hook": {"SELECT": 2, _LOOK: 1, _WRITE: 1},
    # A claim locks the run, and writes its lease.
    "a run taken up": {_LOOK: 3, _LEASE: 1, "SELECT": 1, _WRITE: 2},
    "1,000 steps taken up": {_LOOK: 3, _LEASE: 1, "SELECT": 1, _WRITE: 2},
    "1,000 steps resumed": {"SELECT": 2, _LOOK: 3, _LEASE: 1, _WRITE: 2},
    # Which priorities there are, their runs, and their leases.
    "ten runs claimed": {"START TRANSACTION; WITH": 1, "SELECT": 1, _LEASE: 1},
}

# Each call of the contract is one trip: commits and claims are scripts, and a log is read with its length.
_READ = "GETRANGE; LRANGE"
REDIS = {
    "20 more steps": {"EVALSHA": 20},
    "a run without steps": {"EVALSHA": 1},
    "100 steps at once": {"EVALSHA": 2},
    "a run for a worker": {"EVALSHA": 1},
    "a sleep": {"EVALSHA": 1},
    "a hook": {"EVALSHA": 1},
    "an answer to a hook": {"GET": 1, _READ: 1, "EVALSHA": 1},
    "a run taken up": {"EVALSHA": 3, _READ: 1},
    "1,000 steps taken up": {"EVALSHA": 3, _READ: 1},
    "1,000 steps resumed": {"GET": 1, "EVALSHA": 3, _READ: 1},
    "ten runs claimed": {"EVALSHA": 1},
}

# A commit is one update of a run's document. Before every fourth step the tail of eight events that the
# document holds is copied into a document of its own: a trip more. So a long log is read by two finds.
MONGODB = {
    "20 more steps": {"update": 20, "insert": 5},
    "a run without steps": {"update": 1},
    "100 steps at once": {"update": 2, "insert": 1},
    "a run for a worker": {"update": 1},
    "a sleep": {"update": 1},
    "a hook": {"update": 1},
    "an answer to a hook": {"find": 2, "update": 1},
    # A run that is named is claimed by one command.
    "a run taken up": {"findAndModify": 1, "find": 1, "update": 2},
    "1,000 steps taken up": {"findAndModify": 1, "find": 2, "update": 2, "insert": 1},
    "1,000 steps resumed": {"findAndModify": 1, "find": 3, "update": 2},
    # Candidates are looked for, stamped all at once, and those that were stamped are read.
    "ten runs claimed": {"find": 2, "update": 1},
}

TRIPS: dict[str, dict[str, dict[str, int]]] = {
    "sqlite": SQLITE,
    "postgresql": POSTGRESQL,
    "mariadb": MARIADB,
    "redis": REDIS,
    "mongodb": MONGODB,
}

COMMIT = {
    "sqlite": ("BEGIN", "COMMIT"),
    "postgresql": ("WITH",),
    "mariadb": (_LOOK, _WRITE),
    "redis": ("EVALSHA",),
    "mongodb": ("update",),
}
"""What goes to each database once a commit, however many runs are in it."""
