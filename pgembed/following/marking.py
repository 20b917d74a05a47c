"""marking: the row trigger that says of an updated row whether its vector is still that of its text."""

from __future__ import annotations

from pgembed.columns import quote
from pgembed.following import syncing
from pgembed.following.rules import Followed


def body(followed: Followed) -> str:
    """A block of PL/pgSQL; it may run twice for one update, before and behind triggers of the user's."""
    hashed = followed.hashed
    if followed.bases:
        # A generated column is not computed yet when this trigger runs, which it does at every UPDATE of such a table: where something
        # has changed of which the text is made, the row is stale, and whoever embeds it compares hashes.
        old, new = (_row(followed, row) for row in ("OLD", "NEW"))
        changed = f"    changed := NEW.{hashed} IS NOT DISTINCT FROM OLD.{hashed} AND {new} IS DISTINCT FROM {old};"
        now = f"pgembed._hash_stale(NEW.{hashed})"
    else:
        changed = f"    new_source := {followed.text('NEW')};\n    changed := new_source IS DISTINCT FROM {followed.text('OLD')};"
        now = f"pgembed._hash_after_change(NEW.{hashed}, new_source)"
    return f"""BEGIN
{changed}
    IF NOT changed THEN
        RETURN NEW;
    END IF;{_write(followed, now)}{syncing.collect(followed)}
    RETURN NEW;
EXCEPTION WHEN OTHERS THEN
    -- whoever writes the row must not suffer from the source: refresh meets the same error and records it
    BEGIN
        IF NEW.{hashed} = '\\xff'::bytea AND OLD.{hashed} IS DISTINCT FROM NEW.{hashed} THEN
            RETURN NEW;  -- it has met it, and this is its record
        END IF;
        NEW.{hashed} := '\\x00'::bytea;
    EXCEPTION WHEN undefined_column THEN
        NULL;  -- it was renamed or dropped
    END;{_collect_late(followed)}
    RETURN NEW;
END;"""


def _collect_late(followed: Followed) -> str:
    """The same where the source of the row fails, perhaps only that of before: whoever embeds at once finds out, and says why."""
    collect = syncing.collect(followed)
    if not collect:
        return ""
    return f"""
    BEGIN{collect}
    EXCEPTION WHEN OTHERS THEN
        NULL;  -- pgembed is gone, or the hash column
    END;"""


def _write(followed: Followed, now: str) -> str:
    vector, hashed = followed.vector, followed.hashed
    if followed.chunks is not None:
        gone = followed.chunks.of_row("c", "OLD", [key for key, _ in followed.table.keys])
        return f"""
    NEW.{hashed} := {now};
    IF octet_length(NEW.{hashed}) = 0 THEN
        DELETE FROM {followed.chunks.sql} AS c WHERE {gone};
    END IF;"""
    return f"""
    IF NEW.{vector} IS NULL OR {followed.same_vector()} OR NEW.{hashed} IS DISTINCT FROM OLD.{hashed} AND NEW.{hashed} IS NOT NULL THEN
        -- The vector is the old one, or came with the hash of its text: replicated, restored, or marked by this trigger already.
        NEW.{hashed} := {now};
        IF octet_length(NEW.{hashed}) = 0 THEN
            NEW.{vector} := NULL;
        END IF;
    ELSE
        NEW.{hashed} := {followed.marked(computed=False)};
    END IF;"""


def late_condition(followed: Followed) -> str:
    """When the trigger runs again, behind triggers of the user's: where a column of the source has changed, named in the UPDATE or not."""
    read = followed.bases or followed.source.columns
    if read is None:
        return ""
    # as text, for not every type can be compared
    changed = " OR ".join(f"OLD.{quote(name)}::text IS DISTINCT FROM NEW.{quote(name)}::text" for name in read)
    return f" WHEN ({changed})"


def moved(followed: Followed) -> str:
    """What stands between the name of one more trigger and EXECUTE, for rows that have failed and get another key.

    Why a row has failed is kept under its key, so it is tried again under the new one.
    """
    keys = [key for key, _ in followed.table.keys]
    # as text, for not every type can be compared
    changed = " OR ".join(f"OLD.{key}::text IS DISTINCT FROM NEW.{key}::text" for key in keys)
    return (
        f"BEFORE UPDATE OF {', '.join(keys)} ON {followed.table.sql} FOR EACH ROW"
        f" WHEN (NEW.{followed.hashed} = '\\xff'::bytea AND ({changed}))"
    )


def _row(followed: Followed, row: str) -> str:
    return "ROW(" + ", ".join(f"{row}.{quote(column)}::text" for column in followed.bases) + ")"
