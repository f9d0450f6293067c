"""The plugins: say what each SQL backend is without importing it, or SQLAlchemy."""

from __future__ import annotations

from pyworkflow_core.plugins import BackendInfo, hookimpl

OPTIONS = ("migrate", "namespace")


class _Sql:
    def __init__(self, info: BackendInfo) -> None:
        self._info = info

    @hookimpl
    def pyworkflow_backend(self) -> BackendInfo:
        """Describe the backend."""
        return self._info


sqlite = _Sql(
    BackendInfo(
        open="pyworkflow_sql.sqlite:open_url",
        summary="a SQLite file on a local disk, shared by the processes of one machine",
        example="sqlite:////var/lib/myapp/workflows.db",
        extra="sqlite",
        drivers=("sqlalchemy",),
        conformance="pyworkflow_sql.conformance:SqliteSubject",
        options=OPTIONS,
    )
)

postgresql = _Sql(
    BackendInfo(
        open="pyworkflow_sql.postgresql:open_url",
        summary="a schema of a PostgreSQL database, shared by workers on many machines",
        example="postgresql://user:password@host/database",
        extra="postgresql",
        drivers=("sqlalchemy", "greenlet", "asyncpg"),
        conformance="pyworkflow_sql.conformance:PostgresqlSubject",
        options=OPTIONS,
    )
)

_SERVER = "tables of a {} database, shared by workers on many machines"
mysql, mariadb = (
    _Sql(
        BackendInfo(
            open="pyworkflow_sql.mysql:open_url",
            summary=_SERVER.format(name),
            example=f"{scheme}://user:password@host/database",
            extra="mysql",
            drivers=("sqlalchemy", "greenlet", "asyncmy"),
            conformance="pyworkflow_sql.conformance:MysqlSubject",
            options=OPTIONS,
        )
    )
    for scheme, name in (("mysql", "MySQL"), ("mariadb", "MariaDB"))
)
