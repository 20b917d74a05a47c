"""catalogue: what is known of codecs and of columns of codes."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import codecs, columns, errors
from pgembed.columns import Column, Table
from pgembed.database import Database, Row

if TYPE_CHECKING:
    from pgembed.codecs.contract import Codec

_LOADED: OrderedDict[tuple[str, str], Codec] = OrderedDict()
_MOST_LOADED = 8


@dataclass(frozen=True)
class CodecRow:
    """A codec, as the registry describes it.

    Attributes:
        table, column_name: what it was trained on, ``table`` by OID.
        model, fingerprint: of the vectors; None where the column was adopted without a model.
        code_type: of a column of codes, in SQL.
        encoder, constants_function, domain: objects in the user's schema, by name in SQL; the last two may be None.
        measured, checked: see `pgembed.codes.measuring`; None where nobody has measured.
    """

    name: str
    table: int
    column_name: str
    method: str
    options: dict[str, Any]
    dim: int
    metric: str
    model: str | None
    fingerprint: str | None
    kind: str
    length: int
    code_type: str
    encoder: str
    constants_function: str | None
    domain: str | None
    seed: int
    sample_rows: int
    table_rows: int
    measured: dict[str, Any] | None
    checked: dict[str, Any] | None
    trained_at: str

    def load(self, db: Database) -> Codec:
        """The codec itself, from the session's cache or from the registry. No function of a user's runs."""
        key = (self.name, self.trained_at)
        found = _LOADED.get(key)
        if found is None:
            rows = db.execute("SELECT packed FROM pgembed._codec WHERE name = $1", ["pg_catalog.text"], [self.name])
            if not rows:
                raise errors.UnknownObject(
                    f'codec "{self.name}" does not exist any more', hint="SELECT name FROM pgembed.codecs lists all."
                )
            found = codecs.load(bytes(rows[0]["packed"]))
            while len(_LOADED) >= _MOST_LOADED:
                _LOADED.popitem(last=False)
            _LOADED[key] = found
        _LOADED.move_to_end(key)
        return found

    def must_fit(self, column: Column) -> None:
        """Raise where an embedded column's vectors are not of the space that the codec was trained in.

        Raises:
            errors.DimensionMismatch: another dimension, model or metric.
        """
        ours = (self.dim, self.fingerprint, self.metric)
        theirs = (column.dim, column.fingerprint, column.metric)
        if ours != theirs:
            shown = [f"{dim or 'any'} dimensions of {(mark or 'no model')[:12]}, {metric}" for dim, mark, metric in (ours, theirs)]
            raise errors.DimensionMismatch(
                f'codec "{self.name}" is for vectors of {shown[0]}; {column.label} holds {shown[1]}',
                hint=f"Train one for it: pgembed.train_codec('...', '{column.table.shown}', '{self.method}').",
            )


@dataclass(frozen=True)
class Code:
    """A column of codes.

    Attributes:
        name: of the column.
        embedding_column: the embedded column that it encodes.
        is_filled: every row that has a vector has its code.
        type: of the column now, as PostgreSQL writes it; None where the column is gone.
        is_sound: that is the type of the codec's codes.
        index_name, index_method: a whole vector index on the codes; None for none.
        covering_index: a btree index that contains the codes; None for none.
    """

    table: Table
    name: str
    embedding_column: str
    codec: CodecRow
    is_generated: bool
    trigger_name: str | None
    trigger_function: str | None
    is_active: bool
    is_filled: bool
    type: str | None
    is_sound: bool
    index_name: str | None
    index_method: str | None
    covering_index: str | None

    @property
    def sql(self) -> str:
        """The name of the column, quoted."""
        return columns.quote(self.name)

    @property
    def label(self) -> str:
        """The column in messages."""
        return f"{self.table.name}.{self.name}"

    def must_serve(self, column: Column) -> None:
        """Raise where the column is not what the codec made, or the codec is not for these vectors.

        Raises:
            errors.UnknownColumn: it is gone.
            errors.DatatypeMismatch: it has another type than the codec's codes.
            errors.DimensionMismatch: see `CodecRow.must_fit`.
        """
        if self.type is None:
            raise errors.UnknownColumn(
                f'column "{self.name}" of table "{self.table.name}" does not exist any more',
                hint=f"SELECT pgembed.drop_code('{self.table.shown}', '{self.name}') forgets it.",
            )
        if not self.is_sound:
            raise errors.DatatypeMismatch(
                f'column "{self.name}" of table "{self.table.name}" is of type {self.type}, codes of "{self.codec.name}" are of'
                f" {self.codec.code_type}",
                hint=f"SELECT pgembed.drop_code('{self.table.shown}', '{self.name}'), then pgembed.add_code() makes it anew.",
            )
        self.codec.must_fit(column)


def codec(db: Database, name: str | None) -> CodecRow:
    """The codec of a name.

    Raises:
        errors.NullNotAllowed, errors.UnknownObject: there is none.
    """
    if name is None:
        raise errors.NullNotAllowed("codec is NULL", hint="SELECT name FROM pgembed.codecs lists them.")
    rows = db.execute(f"{_CODECS} WHERE name = $1", ["pg_catalog.text"], [name])
    if not rows:
        raise errors.UnknownObject(
            f'codec "{name}" does not exist', hint="SELECT name FROM pgembed.codecs lists all; pgembed.train_codec() makes one."
        )
    return _codec(rows[0])


def all_codecs(db: Database) -> list[CodecRow]:
    """Every codec, by name."""
    return [_codec(row) for row in db.execute(f"{_CODECS} ORDER BY name")]


def lines(db: Database, found: Table) -> list[Row]:
    """What is registered of a table's columns of codes, by name of the column, whatever has become of column and codec."""
    return db.execute("SELECT * FROM pgembed._describe_codes($1)", ["pg_catalog.regclass"], [str(found.oid)])


def codes(db: Database, found: Table) -> list[Code]:
    """A table's columns of codes, by name of the column."""
    rows = lines(db, found)
    made = {name: codec(db, name) for name in {row["codec"] for row in rows}}
    return [
        Code(
            table=found,
            name=row["column_name"],
            embedding_column=row["embedding_column"],
            codec=made[row["codec"]],
            is_generated=row["is_generated"],
            trigger_name=row["trigger_name"],
            trigger_function=row["trigger_function"],
            is_active=row["is_active"],
            is_filled=row["is_filled"],
            type=row["column_type"],
            is_sound=row["is_sound"],
            index_name=row["index_name"],
            index_method=row["index_method"],
            covering_index=row["covering_index"],
        )
        for row in rows
    ]


def code(db: Database, found: Table, name: str | None, embedding_column: str | None = None) -> Code:
    """The column of codes that a call means.

    Args:
        name: of the column or of its codec; None for the active one, or the only one.
        embedding_column: whose codes are looked among; None for all.
    Raises:
        errors.UnknownObject: there is none of that name.
        errors.AmbiguousColumn: no name was given, and several may be meant.
    """
    known = [one for one in codes(db, found) if embedding_column in (None, one.embedding_column)]
    listed = ", ".join(one.name for one in known)
    if name is not None:
        meant = [one for one in known if one.name == name] or [one for one in known if one.codec.name == name]
        if len(meant) != 1:
            raise errors.UnknownObject(
                f'table "{found.name}" has no column of codes "{name}"',
                hint=f"Columns of codes of this table: {listed}." if known else f"pgembed.add_code('{found.shown}', codec) makes one.",
            )
        return meant[0]
    meant = known if len(known) == 1 else [one for one in known if one.is_active]
    if not known:
        raise errors.UnknownObject(
            f'table "{found.name}" has no column of codes', hint=f"pgembed.add_code('{found.shown}', codec) makes one."
        )
    if len(meant) != 1:
        raise errors.AmbiguousColumn(f'table "{found.name}" has several columns of codes: {listed}', hint="Say which one is meant.")
    return meant[0]


_CODECS = (
    "SELECT name, table_name::oid AS table_oid, column_name, method, options::text AS options, dim, metric, model, fingerprint, kind,"
    " length, code_type, encoder, constants_function, domain, seed, sample_rows, table_rows, measured::text AS measured,"
    " checked::text AS checked, trained_at::text AS trained_at FROM pgembed._codec"
)


def _codec(row: Row) -> CodecRow:
    return CodecRow(
        name=row["name"],
        table=row["table_oid"],
        column_name=row["column_name"],
        method=row["method"],
        options=json.loads(row["options"]),
        dim=row["dim"],
        metric=row["metric"],
        model=row["model"],
        fingerprint=row["fingerprint"],
        kind=row["kind"],
        length=row["length"],
        code_type=row["code_type"],
        encoder=row["encoder"],
        constants_function=row["constants_function"],
        domain=row["domain"],
        seed=row["seed"],
        sample_rows=row["sample_rows"],
        table_rows=row["table_rows"],
        measured=json.loads(row["measured"]) if row["measured"] else None,
        checked=json.loads(row["checked"]) if row["checked"] else None,
        trained_at=row["trained_at"],
    )
