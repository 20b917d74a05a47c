"""embed() of one text and of an array, embed's errors, token_count(), and the way of a vector into the database."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]
Refused = Callable[..., psycopg.Error]
Notices = list[Any]

CUT = "1 text was cut at the 256 tokens that all-minilm-l6-v2 reads"


def similarity(db: Connection, left: str, right: str) -> float:
    row = db.execute("SELECT 1 - (pgembed.embed(%s) <=> pgembed.embed(%s))", [left, right]).fetchone()
    assert row is not None
    return float(row[0])


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 64, 65])
@pytest.mark.parametrize("nulls", ["none", "some", "all"])
def test_an_array_of_vectors_is_an_ordinary_array(db: Connection, length: int, nulls: str) -> None:
    texts = [None if nulls == "all" or (nulls == "some" and i % 3 == 1) else f"text {i % 5}" for i in range(length)]
    db.execute("CREATE TABLE kept (made vector[])")
    db.execute("INSERT INTO kept SELECT pgembed.embed(%s::text[])", [texts])
    row = db.execute(
        """
        SELECT array_agg(e IS NULL ORDER BY i), bool_and(e IS NULL OR e = pgembed.embed(($1::text[])[i])),
               bool_and(made::text::vector[] = made), max(array_ndims(made)), max(array_lower(made, 1))
        FROM kept, unnest(made) WITH ORDINALITY AS u (e, i)
        """.replace("$1", "%s"),
        [texts],
    ).fetchone()
    assert row == ([text is None for text in texts], True, True, 1, 1)
    with db.cursor().copy("COPY kept TO STDOUT (FORMAT binary)") as copy:
        sent = b"".join(bytes(part) for part in copy)
    with db.cursor().copy("COPY kept FROM STDIN (FORMAT binary)") as copy:
        copy.write(sent)
    assert db.execute("SELECT count(DISTINCT made), count(*) FROM kept").fetchone() == (1, 2)


def test_embed_gives_a_vector_of_the_models_dimension_and_length_one(db: Connection) -> None:
    row = db.execute("SELECT vector_dims(e), round(vector_norm(e)::numeric, 5)::float8 FROM pgembed.embed('a jacket') AS e").fetchone()
    assert row == (384, 1.0)


def test_near_texts_are_nearer_than_far_ones(db: Connection) -> None:
    assert similarity(db, "a rain jacket", "a waterproof coat") > similarity(db, "a rain jacket", "a tax return") + 0.3


def test_embed_of_null_is_null(db: Connection) -> None:
    assert db.execute("SELECT pgembed.embed(NULL), pgembed.embed(NULL::text[])").fetchone() == (None, None)


@pytest.mark.parametrize("content", ["", " ", "\t\n", "\u00a0\u2003"])
def test_embed_of_empty_text_is_refused(db: Connection, refused: Refused, content: str) -> None:
    refused(db, "22023", "SELECT pgembed.embed(%s::text)", [content], message="text is empty", hint="nullif(btrim(body), '')")


def test_embed_of_a_megabyte_is_cut_and_says_so(db: Connection, notices: Notices) -> None:
    row = db.execute("SELECT pgembed.embed(repeat('rain jacket ', 87382)) = pgembed.embed(repeat('rain jacket ', 127))").fetchone()
    assert row == (True,)
    assert [(told.severity, told.message) for told in notices] == [("NOTICE", CUT)]
    assert "pgembed.token_count(text)" in notices[0].hint


def test_a_text_at_the_models_limit_is_not_cut(db: Connection, notices: Notices) -> None:
    # 254 words and the two marks around them
    assert db.execute("SELECT pgembed.token_count(repeat('rain ', 254))").fetchone() == (256,)
    db.execute("SELECT pgembed.embed(repeat('rain ', 254))")
    assert notices == []
    db.execute("SELECT pgembed.embed(repeat('rain ', 255))")
    assert [told.message for told in notices] == [CUT]


PLANES = {
    "basic multilingual": "żółw 漢字 עברית नमस्ते",
    "supplementary multilingual": "\U0001f600 \U0001d518 \U00013000",
    "supplementary ideographic": "𠀀𠀁",
    "tertiary ideographic": "\U00030000",
    "unassigned": "\U00040000",
    "special purpose": "\U000e0041\U000e0042",
    "private use": "\ue000 \U000f0000 \U0010fffd",
    "noncharacters and combining marks": "\ufdd0\uffff e\u0301\u0323",
    "controls": "\x01\x1f\x7f\u0085\u200b\u202e",
}


@pytest.mark.parametrize("content", PLANES.values(), ids=PLANES.keys())
def test_embed_takes_text_of_every_plane_of_unicode(db: Connection, content: str) -> None:
    row = db.execute("SELECT vector_dims(e), vector_norm(e) FROM pgembed.embed(%s) AS e", [content]).fetchone()
    assert row is not None
    assert row[0] == 384
    assert row[1] == pytest.approx(1, abs=1e-4)


def test_unknown_model_is_refused_with_the_known_ones(db: Connection, refused: Refused) -> None:
    refused(db, "42704", "SELECT pgembed.embed('a', 'nobody')", message='model "nobody" does not exist', hint="all-minilm-l6-v2")


def test_unknown_model_is_refused_for_null_too(db: Connection, refused: Refused) -> None:
    refused(db, "42704", "SELECT pgembed.embed(NULL, 'nobody')", message='model "nobody" does not exist')


@pytest.mark.parametrize(
    "model", ["../all-minilm-l6-v2", "/etc/passwd", ".", "..", "", "a/b", "a\\b", ".hidden", "a" * 64, "naïve", "a\nb"]
)
def test_a_model_name_is_never_a_path(db: Connection, refused: Refused, model: str) -> None:
    for statement in ("SELECT pgembed.embed('a', %s)", "SELECT pgembed.embed(ARRAY['a'], %s)", "SELECT pgembed.token_count('a', %s)"):
        refused(db, "22023", statement, [model], message="invalid model name", hint="1 to 63 letters")


@pytest.mark.parametrize("role", ["'author'", "''", "NULL"])
def test_role_must_be_query_or_document(db: Connection, refused: Refused, role: str) -> None:
    refused(db, "22023", f"SELECT pgembed.embed('a', role => {role})", message="role must be query or document", hint="default")


def test_models_give_different_vectors(db: Connection) -> None:
    assert db.execute("SELECT pgembed.embed('a') = pgembed.embed('a', 'all-minilm-l6-v2-int8')").fetchone() == (False,)


# Arrays -----------------------------------------------------------------------------------------------------------------------


def test_array_keeps_order_and_nulls_and_equals_texts_one_by_one(db: Connection) -> None:
    row = db.execute(
        """
        SELECT array_length(made, 1), made[1] = pgembed.embed('rain'), made[2] IS NULL,
               made[3] = pgembed.embed('a longer text about tax'), made[4] = made[1]
        FROM pgembed.embed(ARRAY['rain', NULL, 'a longer text about tax', 'rain']) AS made
        """
    ).fetchone()
    assert row == (4, True, True, True, True)


def test_empty_array_gives_an_empty_array(db: Connection) -> None:
    assert db.execute("SELECT pgembed.embed('{}'::text[])::text").fetchone() == ("{}",)


def test_array_of_nulls_gives_nulls(db: Connection) -> None:
    assert db.execute("SELECT pgembed.embed(ARRAY[NULL, NULL]::text[])::text").fetchone() == ("{NULL,NULL}",)


def test_array_takes_the_texts_of_an_aggregate(db: Connection) -> None:
    row = db.execute("SELECT cardinality(pgembed.embed(array_agg(n::text))) FROM generate_series(1, 3) AS n").fetchone()
    assert row == (3,)


def test_empty_text_in_an_array_is_named_by_its_place(db: Connection, refused: Refused) -> None:
    refused(db, "22023", "SELECT pgembed.embed(ARRAY['a', NULL, ''])", message="text 3 of 3 is empty", hint="nullif")


def test_array_of_two_dimensions_is_refused(db: Connection, refused: Refused) -> None:
    refused(db, "22023", "SELECT pgembed.embed(ARRAY[['a'], ['b']])", message="one-dimensional", hint="unnest()")


def test_texts_that_are_cut_in_an_array_are_counted(db: Connection, notices: Notices) -> None:
    db.execute("SELECT pgembed.embed(ARRAY[repeat('a ', 300), 'a', repeat('b ', 300)])")
    assert [told.message for told in notices] == ["2 texts were cut at the 256 tokens that all-minilm-l6-v2 reads"]


def test_a_batch_can_be_cancelled(db: Connection) -> None:
    db.execute("SELECT pgembed.embed('warm')")
    db.execute("SET statement_timeout = '200ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        db.execute("SELECT pgembed.embed(array_agg(repeat('word ', 200) || n)) FROM generate_series(1, 5000) AS n")
    db.execute("RESET statement_timeout")
    assert db.execute("SELECT vector_dims(pgembed.embed('still alive'))").fetchone() == (384,)


# Tokens -----------------------------------------------------------------------------------------------------------------------


def test_token_count_counts_the_models_own_marks(db: Connection) -> None:
    assert db.execute("SELECT pgembed.token_count('rain jacket'), pgembed.token_count('')").fetchone() == (4, 2)


def test_token_count_is_not_cut_at_the_limit(db: Connection) -> None:
    assert db.execute("SELECT pgembed.token_count(repeat('rain ', 1000))").fetchone() == (1002,)


def test_token_count_of_null_is_null(db: Connection) -> None:
    assert db.execute("SELECT pgembed.token_count(NULL)").fetchone() == (None,)


# The way of bytes into vectors ------------------------------------------------------------------------------------------------


def image(*numbers: float, dim: int | None = None, zero: int = 0) -> bytes:
    return struct.pack(f"=hh{len(numbers)}f", len(numbers) if dim is None else dim, zero, *numbers)


def test_an_image_becomes_the_vector_it_says(db: Connection) -> None:
    assert db.execute("SELECT pgembed._vector(%b)::text", [image(1.5, -2, 3)]).fetchone() == ("[1.5,-2,3]",)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x01\x00\x00",
        image(),
        image(1, 2)[:-1],
        image(1, 2, dim=3),
        image(1, 2, dim=16000),
        image(1, 2, dim=1),
        image(1, 2, dim=-2),
        image(1, 2, dim=0),
        image(1, 2, zero=1),
        image(1, float("nan")),
        image(float("inf"), 1),
        image(1, float("-inf")),
        image(*[0.0] * 16001),
    ],
    ids=["nothing", "short", "empty", "torn", "dim+1", "dim big", "dim-1", "dim<0", "dim 0", "flag", "nan", "inf", "-inf", "16001"],
)
def test_bytes_that_are_no_image_are_refused(db: Connection, refused: Refused, bad: bytes) -> None:
    refused(db, "22000", "SELECT pgembed._vector(%b)", [bad], message="are not the image of a vector", hint="int16 dim")


def test_the_largest_and_the_smallest_vector_pass(db: Connection) -> None:
    big = image(*[0.25] * 16000)
    assert db.execute("SELECT vector_dims(pgembed._vector(%b)), pgembed._vector(%b)::text", [big, image(3e38)]).fetchone() == (
        16000,
        "[3e+38]",
    )
