"""Databases for tests, made and dropped beside the tests: copies of a template, the next of which is there before it is asked for."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg import sql


class Clones:
    """Copies of one template, each for one test.

    One thread with a session of its own does one thing after the other, so what has been dropped is gone before anything that is asked for
    later.

    Args:
        url: of the server, as a superuser.
        template: a database that nobody is connected to.
    """

    def __init__(self, url: str, template: str) -> None:
        self._template = template
        self._session: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clones")
        self._made = 0
        self._next = self._order()
        self._drops: list[Future[None]] = []

    def take(self) -> str:
        """The name of a database that nobody has used; the next one is begun."""
        name = self._next.result()
        self._next = self._order()
        return name

    def give_back(self, name: str) -> None:
        """Drop one, soon; whoever is still connected to it is thrown out."""
        self._drops.append(self._thread.submit(self._drop, name))

    def wait(self) -> None:
        """Until all that were given back are gone; what has kept one from being dropped is raised."""
        while self._drops:
            self._drops.pop(0).result()

    def close(self) -> None:
        """Drop all of them."""
        self.give_back(self._next.result())
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._session.close()

    def _order(self) -> Future[str]:
        self._made += 1
        return self._thread.submit(self._create, f"{self._template}_{self._made}")

    def _create(self, name: str) -> str:
        self._session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(self._template)))
        return name

    def _drop(self, name: str) -> None:
        self._session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
