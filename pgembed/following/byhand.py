"""byhand: what becomes of a vector that somebody else than pgembed writes into an embedded column.

pgembed writes a vector and the hash of its text in one statement; so does whoever restores or replicates. A vector that comes without its
hash is somebody else's: it is refused, or marked in the hash column (`pgembed.by_hand` in SQL).
"""

from __future__ import annotations

from pgembed.columns import quote
from pgembed.following.rules import Followed


def triggers(followed: Followed) -> dict[str, str]:
    """The triggers of a column on rows: which, and what stands between its name and EXECUTE.

    None of them fires for replicated rows. A condition spares all that comes with a hash a call.
    """
    if followed.chunks is not None:
        return {}  # its vectors are in a table of their own, which only its owner and those he lets may write
    table, vector, hashed = followed.table.sql, followed.vector, followed.hashed
    made = {
        "hand_update": f"BEFORE UPDATE OF {vector} ON {table} FOR EACH ROW WHEN (OLD.{hashed} IS NOT DISTINCT FROM NEW.{hashed})",
    }
    if followed.rules.by_hand == "refuse" or not followed.rules.adopted:
        # not before: COPY would then write one row at a time
        made["hand_insert"] = f"AFTER INSERT ON {table} FOR EACH ROW WHEN (NEW.{vector} IS NOT NULL AND NEW.{hashed} IS NULL)"
    return made


def body(followed: Followed) -> str:
    """A block of PL/pgSQL for both triggers."""
    vector, hashed = followed.vector, followed.hashed
    refuse = followed.rules.by_hand == "refuse"
    insert = followed.refusal() if refuse else _mark_inserted(followed)
    update = followed.refusal() if refuse else f"NEW.{hashed} := {followed.marked(computed=False)};"
    return f"""BEGIN
    IF TG_OP = 'INSERT' THEN
        {insert}
        RETURN NULL;
    END IF;
    IF {followed.same_vector()} THEN
        RETURN NEW;
    END IF;
    IF NEW.{vector} IS NULL THEN
        -- whoever takes a vector away asks for it to be made anew, if there is a text
        NEW.{hashed} := CASE WHEN octet_length(NEW.{hashed}) = 0 THEN NEW.{hashed} END;
        RETURN NEW;
    END IF;
    {update}
    RETURN NEW;{_forgiving(followed) if not refuse else ""}
END;"""


def _forgiving(followed: Followed) -> str:
    return f"""
EXCEPTION WHEN OTHERS THEN
    -- the source fails, or pgembed is gone: nothing is known of the vector but that it is there
    IF TG_OP = 'INSERT' THEN
        RETURN NULL;
    END IF;
    NEW.{followed.hashed} := '\\x03'::bytea;
    RETURN NEW;"""


def _mark_inserted(followed: Followed) -> str:
    keys = [key for key, _ in followed.table.keys]
    same = " AND ".join(f"t.{key} = ${position}" for position, key in enumerate(keys, 2))
    values = ", ".join(f"NEW.{key}" for key in keys)
    statement = (
        f"UPDATE %s AS t SET {quote(followed.hash_column)} = $1 WHERE {same}"
        f" AND t.{followed.hashed} IS NULL AND t.{followed.vector} IS NOT NULL"
    )
    quoted = statement.replace("'", "''")
    return f"EXECUTE format('{quoted}', TG_RELID::regclass)\n            USING {followed.marked(computed=True)}, {values};"
