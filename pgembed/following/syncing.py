"""syncing: what embeds the rows that a statement has written, at its end, or wakes somebody who does.

INSERT has a trigger with a transition table, which has the rows. UPDATE has none: PostgreSQL allows a transition table no list of columns,
so it would be filled by every UPDATE of whatever column. There the row trigger, which runs where a column of the source is written,
leaves the keys of rows that need work in the memory of the backend, and the statement's trigger takes them. What an aborted statement
left there is offered once more, and found to need nothing.
"""

from __future__ import annotations

from pgembed.columns import literal, quote
from pgembed.following.rules import Followed

# Tells the statement's trigger that there is something to do, without a call of Python. It is put back where a savepoint is, and decides
# nothing else: anybody may set it.
_FLAG = "pgembed.touched"
_TOUCHED = f"pg_catalog.current_setting('{_FLAG}', true) OPERATOR(pg_catalog.=) 'on'"

# No worker sleeps, as sql/functions/workers.sql says it. A condition of a trigger costs less than a call of PL/pgSQL.
_NOBODY_SLEEPS = "pg_catalog.pg_try_advisory_xact_lock_shared(1885824365, 2002873189)"


def triggers(followed: Followed, *, everywhere: bool) -> dict[str, str]:
    """The triggers of a column at the end of statements: which, and what stands between its name and EXECUTE.

    Args:
        everywhere: an UPDATE may change the text that does not name a column of it.
    """
    if followed.rules.sync == "manual":
        return {}
    table = followed.table.sql
    waking = followed.rules.at_once == 0
    rows = "" if waking else " REFERENCING NEW TABLE AS inserted"
    read = None if everywhere else followed.source.columns
    listed = "" if read is None else f" OF {', '.join(quote(column) for column in read)}"
    return {
        "insert": f"AFTER INSERT ON {table}{rows} FOR EACH STATEMENT" + (f" WHEN (NOT {_NOBODY_SLEEPS})" if waking else ""),
        "update": f"AFTER UPDATE{listed} ON {table} FOR EACH STATEMENT"
        + f" WHEN ({_TOUCHED}{f' AND NOT {_NOBODY_SLEEPS}' if waking else ''})",
    }


def function(followed: Followed, own: str) -> str:
    """What the triggers call: the column's own function, or one of pgembed's that only wakes, for each writer's statement pays for it.

    A function with the owner's rights and a search_path of its own takes longer to enter than to run.
    """
    return "pgembed._wake_after" if followed.rules.at_once == 0 else own


def collect(followed: Followed) -> str:
    """PL/pgSQL in the row trigger: remember the row, if it needs work now."""
    if followed.rules.sync == "manual":
        return ""
    at_once = followed.rules.at_once
    leave = ""
    if at_once != 0:
        arguments = f"{literal(followed.label)}, {_PLACE}, {followed.table.key_text('NEW')}, {'NULL' if at_once is None else at_once}"
        leave = f"\n        PERFORM pgembed._touch({arguments});"
    return f"""
    IF {followed.state("NEW")} IN ('pending', 'stale') THEN
        PERFORM set_config('{_FLAG}', 'on', true);{leave}
    END IF;"""


def body(followed: Followed) -> str:
    """A block of PL/pgSQL for both triggers, where rows are embedded at once; '' where they are not."""
    at_once = followed.rules.at_once
    if at_once == 0:
        return ""
    limit, wake = "", ""
    if at_once is not None:
        limit = f" LIMIT {at_once + 1}"
        wake = f"""
    IF cardinality(keys) > {at_once} THEN
        PERFORM pgembed._wake_workers();
        RETURN NULL;
    END IF;"""
    return f"""BEGIN
    IF TG_OP = 'INSERT' THEN
        keys := ARRAY(SELECT {followed.table.key_text("t")} FROM inserted AS t WHERE {followed.state("t")} = 'pending'{limit});
    ELSE
        keys := pgembed._take_touched({literal(followed.label)}, {_PLACE});
    END IF;{wake}
    IF cardinality(keys) > 0 THEN
        PERFORM pgembed._embed_rows(TG_RELID::regclass, {literal(followed.name)}, keys);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- whoever writes the rows must not suffer from the model; they say themselves that they need work
    RAISE WARNING 'rows of "%" are written and not embedded: SQLSTATE %', TG_TABLE_NAME, SQLSTATE
        USING HINT = format('Its owner sees why with CALL pgembed.work(%L).', TG_RELID::regclass);
    RETURN NULL;
END;"""


# Tells statements from one another: by the transaction, and how deep they are in triggers of one another.
_PLACE = "pg_current_xact_id()::text, pg_trigger_depth()"
