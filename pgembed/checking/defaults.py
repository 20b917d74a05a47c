"""defaults: settings of a database that keep plain queries from losing rows, made in one call and taken back in another.

An ALTER DATABASE for each. What was there before is kept in the registry, so that taking them back restores exactly that; a setting that
somebody has changed since is theirs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pgembed import errors
from pgembed.checking import plans
from pgembed.columns import literal, quote
from pgembed.database import Database

NAME = "search_defaults"  # in the registry of settings


class Owned(Protocol):
    """What only its owner may change."""

    def must_own(self) -> None:
        """Raise where the caller does not own it."""
        ...


# Writes one statement on the registry, where the caller owns the database.
Writer = Callable[[Owned, str, Sequence[str], Sequence[object]], None]


@dataclass(frozen=True)
class Place:
    """The current database; ``now`` are the settings that it gives to sessions, by name in lower case."""

    name: str
    owner: str
    may_own: bool
    caller: str
    now: dict[str, str]

    def must_own(self) -> None:
        """Raise where the caller is neither its owner nor a superuser."""
        if not self.may_own:
            raise errors.InsufficientPrivilege(
                f'must be owner of database "{self.name}"',
                hint=f'Its owner is the role "{self.owner}". For your own sessions: ALTER ROLE {quote(self.caller)} SET'
                " hnsw.iterative_scan = strict_order.",
            )


def put(db: Database, write: Writer, wanted: Mapping[str, object]) -> list[dict[str, Any]]:
    """Give settings to the database, for sessions that begin later.

    Args:
        wanted: value of each setting; None leaves it as it is.
    Returns:
        A line for each: setting, value, previous (None where the database had none of its own).
    Raises:
        errors.InsufficientPrivilege: the caller does not own the database.
        PostgreSQL's 22023: a value is none of the setting's.
    """
    place = _place(db)
    place.must_own()
    plans.load(db)  # to a server that has not loaded pgvector its settings are unknown, and only a superuser may give them
    ours = _ours(db)
    lines = []
    for name, value in wanted.items():
        if value is None:
            continue
        text, before = str(value), place.now.get(name)
        _alter(db, place, name, text)
        # called twice, what was there before the first call is still what was there before
        known = ours.get(name)
        first = known["previous"] if known and known["value"] == before else before
        ours[name] = {"value": text, "previous": first}
        lines.append({"setting": name, "value": text, "previous": first})
    _keep(write, place, ours)
    db.notice(
        f'sessions of database "{place.name}" that begin from now on have these settings; this one keeps its own',
        hint="pgembed.reset_search_defaults() takes them back. A role's own settings (ALTER ROLE ... SET) come before a database's.",
    )
    return lines


def take_back(db: Database, write: Writer) -> list[dict[str, Any]]:
    """Give the database back what it had before `put`.

    Returns:
        A line for each setting: setting, value (None: the database has none of its own), restored (false: changed since, and left alone).
    Raises:
        errors.InsufficientPrivilege: the caller does not own the database.
    """
    place = _place(db)
    place.must_own()
    plans.load(db)
    ours = _ours(db)
    if not ours:
        db.notice("pgembed has given this database no settings, so there are none to take back")
        return []
    lines = []
    for name, known in sorted(ours.items()):
        now = place.now.get(name)
        restored = now == known["value"]
        if restored:
            _alter(db, place, name, known["previous"])
        else:
            db.notice(
                f"{name} was changed since, from {known['value']} to {'no value' if now is None else now}, and is left alone",
                hint=f"ALTER DATABASE {quote(place.name)} RESET {name} takes it away.",
            )
        lines.append({"setting": name, "value": known["previous"] if restored else now, "restored": restored})
    _keep(write, place, {})
    return lines


def _place(db: Database) -> Place:
    row = db.execute(
        "SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba) AS owner, pg_catalog.pg_has_role(d.datdba, 'USAGE') AS may_own,"
        " CURRENT_USER::pg_catalog.text AS caller, (SELECT s.setconfig FROM pg_catalog.pg_db_role_setting AS s"
        " WHERE s.setdatabase OPERATOR(pg_catalog.=) d.oid AND s.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid) AS settings"
        " FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()"
    )[0]
    pairs = [setting.partition("=") for setting in row["settings"] or ()]
    return Place(row["datname"], row["owner"], row["may_own"], row["caller"], {name.lower(): value for name, _, value in pairs})


def _ours(db: Database) -> dict[str, Any]:
    rows = db.execute("SELECT value FROM pgembed._setting WHERE name OPERATOR(pg_catalog.=) $1", ["pg_catalog.text"], [NAME])
    found: dict[str, Any] = json.loads(rows[0]["value"]) if rows else {}
    return found


def _keep(write: Writer, place: Place, ours: dict[str, Any]) -> None:
    if not ours:
        write(place, "DELETE FROM pgembed._setting WHERE name OPERATOR(pg_catalog.=) $1", ["pg_catalog.text"], [NAME])
        return
    write(
        place,
        "INSERT INTO pgembed._setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
        ["pg_catalog.text", "pg_catalog.text"],
        [NAME, json.dumps(ours)],
    )


def _alter(db: Database, place: Place, name: str, value: str | None) -> None:
    """Names are ours; a value that PostgreSQL does not take is refused by it."""
    what = f"RESET {name}" if value is None else f"SET {name} = {literal(value)}"
    db.execute(f"ALTER DATABASE {quote(place.name)} {what}")
