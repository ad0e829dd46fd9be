"""Connections to a PostgreSQL server that are given up once it has been silent for too long.

A server that is stopped, or whose disk is, keeps its connections open and says nothing: the system's own limits never
end such a wait.
"""

import time
from collections.abc import Callable, Generator
from typing import Any

from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL

PATIENCE_S = 8.0


def connecting(url: URL, options: dict[str, Any], patience_s: float = PATIENCE_S) -> Callable[[], Any]:
    """What opens such a connection, for SQLAlchemy's ``creator``.

    Args:
        url: The database's.
        options: Further options of a connection.
        patience_s: Silence after which a connection is given up, in seconds.
    """
    import psycopg

    class Impatient(psycopg.Connection[Any]):
        """Every wait for the server passes through ``wait``."""

        def wait(self, gen: Any, *how: Any, **options: Any) -> Any:
            return super().wait(self._until_silent(gen), *how, **options)

        def _until_silent(self, gen: Any) -> Generator[Any, Any, Any]:
            heard_at = time.monotonic()
            try:
                wanted = next(gen)
                while True:
                    # Falsy where it was looked at in vain, some times a second.
                    ready = yield wanted
                    if ready:
                        heard_at = time.monotonic()
                    elif time.monotonic() - heard_at > patience_s:
                        # Nothing more is said on it, neither a rollback nor a farewell.
                        self.pgconn.finish()
                        raise psycopg.OperationalError(f"the server has said nothing for {patience_s:g} s")
                    wanted = gen.send(ready)
            except StopIteration as end:
                return end.value

    arguments, named = PGDialect_psycopg().create_connect_args(url)
    return lambda: Impatient.connect(*arguments, **{**named, **options})
