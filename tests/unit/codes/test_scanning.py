"""scanning: pages of codes against a plain sort of all distances; the database is a list of answers."""

from __future__ import annotations

import dataclasses
import json
import struct
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pgembed import codecs, errors
from pgembed.codecs.contract import Codec, Space
from pgembed.codes import scanning
from pgembed.codes.catalogue import Code, CodecRow
from pgembed.columns import Table

DIM, ROWS = 24, 3000
RNG = np.random.default_rng(3)
VECTORS = RNG.standard_normal((ROWS, DIM)).astype(np.float32)
QUERY = RNG.standard_normal(DIM).astype(np.float32)
TABLE = Table(oid=1, schema="public", name="product", relkind="r", owner="ann", may_own=True, keys=(('"id"', "integer"),))


def codec_of(method: str, **options: Any) -> Codec:
    return codecs.train(method, VECTORS[:500], Space(DIM, "cosine", normalize=True), options)


SIGN = codec_of("sign")
INT8 = codec_of("int8")
PREFIX = codec_of("pca", dims=8)


@dataclasses.dataclass(frozen=True)
class Row(CodecRow):
    """A codec that is no database's."""

    made: Any = None

    def load(self, db: Any) -> Any:
        return self.made


def code_of(made: Codec, table: Table = TABLE) -> Code:
    shape = made.shape
    row = Row(
        **{field.name: None for field in dataclasses.fields(CodecRow)}
        | {"name": "c", "dim": DIM, "metric": "cosine", "kind": shape.kind, "length": shape.length, "code_type": "x", "made": made}
    )
    fields = {field.name: None for field in dataclasses.fields(Code)}
    return Code(**fields | {"table": table, "name": "code", "codec": row, "type": "x"})  # type: ignore[arg-type]


def sent(made: Codec, vectors: Any = VECTORS) -> list[bytes]:
    """Codes as PostgreSQL's own functions send them."""
    codes = made.encode(vectors)
    if made.shape.kind == "halfvec":
        return [struct.pack(">hh", made.shape.length, 0) + code.astype(">f2").tobytes() for code in codes]
    head = struct.pack(">i", made.shape.length) if made.shape.kind == "bits" else b""
    return [head + code.tobytes() for code in codes]


class Pages:
    """A database that holds so many rows and answers with pages."""

    def __init__(self, pages: list[dict[str, Any]], held: float = ROWS) -> None:
        self.pages, self.held = list(pages), held
        self.asked: list[tuple[str, list[object]]] = []
        self.looks = 0

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = ()) -> list[Any]:
        if " AS held" in statement:
            return [{"held": self.held}]
        assert len(types) == len(values)
        self.asked.append((statement, list(values)))
        return [self.pages.pop(0)]

    def check_interrupts(self) -> None:
        self.looks += 1


def expected(made: Codec, keep: int) -> list[int]:
    distances = made.distances(QUERY[None], made.encode(VECTORS))[0]
    return [int(i) for i in np.lexsort((np.arange(ROWS), distances))[:keep]]


def scan(db: Pages, code: Code, keep: int) -> scanning.Found:
    return scanning.scan(db, code, "public", QUERY, "true", None, keep)  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [SIGN, INT8, PREFIX], ids=["bits", "bytes", "halfvec"])
def test_the_nearest_codes_come_out_in_order(made: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "SLICE_NUMBERS", 1000 * DIM)
    page = b"".join(struct.pack(">i", i) + one for i, one in enumerate(sent(made)))
    db = Pages([{"page": page, "keys": None, "missing": 4}])
    found = scan(db, code_of(made), 40)
    assert [int(place) for place in found.places] == expected(made, 40)
    # what is scored a slice at a time may differ in the last bit
    assert found.distances == pytest.approx(np.sort(made.distances(QUERY[None], made.encode(VECTORS))[0])[:40], abs=1e-5)
    assert (found.scored, found.without_code) == (ROWS, 4)
    assert db.looks == 3  # a cancel is seen between slices


def test_rows_of_one_distance_come_by_key_whatever_the_order_of_reading() -> None:
    one = sent(SIGN, VECTORS[:1])[0]
    for keys in (range(-50, 50), range(49, -51, -1)):
        page = b"".join(struct.pack(">i", key) + one for key in keys)
        assert scan(Pages([{"page": page, "keys": None, "missing": 0}]), code_of(SIGN), 3).places == ["-50", "-49", "-48"]


def test_pages_are_read_one_by_one_where_one_would_grow_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "PAGE_BYTES", ROWS * 11 // 3 + 1)  # a record has 4 + 4 + 3 bytes
    pages = [
        {"page": b"".join(struct.pack(">i", i) + sent(SIGN)[i] for i in range(part, ROWS, 3)), "keys": None, "missing": 1}
        for part in range(3)
    ]
    db = Pages(pages)
    found = scan(db, code_of(SIGN), 25)
    assert [int(place) for place in found.places] == expected(SIGN, 25)
    assert (found.scored, found.without_code) == (ROWS, 3)
    assert [values for _, values in db.asked] == [[None, 0], [None, 1], [None, 2]]
    assert len({statement for statement, _ in db.asked}) == 1
    assert "OPERATOR(pg_catalog.%) 3 OPERATOR(pg_catalog.=) $2" in db.asked[0][0]


@pytest.mark.parametrize(
    ("keys", "packed", "shown"),
    [
        ((('"a"', "bigint"),), struct.pack(">q", -(2**40)), str(-(2**40))),
        ((('"a"', "uuid"),), uuid.UUID(int=5 << 70).bytes, str(uuid.UUID(int=5 << 70))),
        ((('"a"', "smallint"), ('"b"', "uuid")), struct.pack(">h", -3) + bytes(16), json.dumps([-3, str(uuid.UUID(int=0))])),
        ((), struct.pack(">IIH", 4_000_000_000, 7, 3), "4000000000:(7,3)"),
    ],
    ids=["bigint", "uuid", "composite", "no key"],
)
def test_a_place_is_the_key_as_text_or_table_and_ctid(keys: Any, packed: bytes, shown: str) -> None:
    code = code_of(SIGN, dataclasses.replace(TABLE, keys=keys))
    db = Pages([{"page": packed + sent(SIGN)[0], "keys": None, "missing": 0}])
    assert scan(db, code, 5).places == [shown]


def test_keys_of_other_types_are_texts_beside_the_codes() -> None:
    code = code_of(SIGN, dataclasses.replace(TABLE, keys=(('"name"', "text"),)))
    keys = [f"ä {i}" for i in range(ROWS)]
    db = Pages([{"page": b"".join(sent(SIGN)), "keys": "\0".join(keys).encode(), "missing": 0}])
    distances = SIGN.distances(QUERY[None], SIGN.encode(VECTORS))[0]
    best = sorted(zip(distances.tolist(), [key.encode() for key in keys], strict=True))[:7]
    assert scan(db, code, 7).places == [key.decode() for _, key in best]
    assert "pg_catalog.convert_to(" in db.asked[0][0]


@pytest.mark.parametrize("key", ["integer", "text"])
def test_no_row_is_no_place(key: str) -> None:
    found = scan(Pages([{"page": None, "keys": None, "missing": 0}]), code_of(SIGN, dataclasses.replace(TABLE, keys=(('"id"', key),))), 5)
    assert (found.places, len(found.distances), found.scored) == ([], 0, 0)


@pytest.mark.parametrize("wrong", [struct.pack(">i", 16) + bytes(3), struct.pack(">i", 24) + bytes(4)], ids=["said", "found"])
def test_codes_of_another_length_are_refused(wrong: bytes) -> None:
    db = Pages([{"page": struct.pack(">i", 1) + wrong, "keys": None, "missing": 0}])
    with pytest.raises(errors.DimensionMismatch, match="another length than 24 bits") as caught:
        scan(db, code_of(SIGN), 5)
    assert "fill_code('product', 'code')" in str(caught.value.hint)


def measured(asymmetric: int | None) -> CodecRow:
    row = code_of(SIGN).codec
    return dataclasses.replace(row, measured={"k": 10, "asymmetric_rescore": {"0.95": 5, "0.99": asymmetric}})


@pytest.mark.parametrize(
    ("codec", "k", "rows"),
    [
        (measured(70), 10, 70),
        (measured(70), 1, 70),
        (measured(70), 30, 210),
        (measured(12), 10, 40),
        (measured(None), 10, 1000),
        (measured(700), 20, 1000),
        (measured(70), 300, 1200),
        (code_of(SIGN).codec, 10, 200),
        (dataclasses.replace(measured(70), checked={"k": 10, "asymmetric_rescore": {"0.99": 90}}), 10, 90),
    ],
)
def test_as_many_rows_are_compared_exactly_as_the_measure_says(codec: CodecRow, k: int, rows: int) -> None:
    assert scanning.default_rescore(codec, k) == rows
