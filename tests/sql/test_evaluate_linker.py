"""evaluate_linker on a real server, on a linker whose links are known; the figures themselves are tested in tests/unit/linking."""

from __future__ import annotations

from typing import Any

import pytest
from support import AsRole, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def gold(db: Connection) -> Connection:
    """Three names that are found, one that is not there, one that is said to be another row."""
    db.execute("CREATE TABLE company (id int PRIMARY KEY, name text)")
    db.execute("INSERT INTO company VALUES (1, 'Contoso'), (2, 'Northwind'), (3, 'Fabrikam')")
    db.execute("SELECT pgembed.create_linker('companies', 'company', names => 'name')")
    db.execute("CREATE TABLE gold (content text, start_char int, end_char int, entity_key int, mention_type text)")
    db.execute(
        "INSERT INTO gold VALUES"
        " ('Contoso met Northwind.', 1, 8, 1, 'name'), ('Contoso met Northwind.', 13, 22, 2, 'name'),"
        " ('We saw Adventure Works.', 8, 23, NULL, 'name'),"
        " ('Fabrikam grew.', 1, 9, 3, 'brand'), ('Then Fabrikam fell.', 6, 14, 2, 'brand')"
    )
    return db


def figures(db: Connection, arguments: str = "") -> dict[str, dict[str, Any]]:
    cursor = db.execute(f"SELECT * FROM pgembed.evaluate_linker('companies', 'gold'{arguments})")
    names = [column.name for column in cursor.description or ()]
    return {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}


def test_given_places_by_type_with_intervals(gold: Connection) -> None:
    found = figures(gold)
    assert list(found) == ["brand", "name", "all"]
    assert [found[kind]["mentions"] for kind in found] == [2, 3, 5]
    assert (found["name"]["precision"], found["name"]["recall"], found["name"]["f1"]) == (1, 1, 1)
    assert (found["brand"]["precision"], found["brand"]["recall"], found["brand"]["accuracy_at_1"]) == (0.5, 0.5, 0.5)
    assert found["all"]["precision"] == 0.75
    for name in ("precision", "recall", "f1", "accuracy_at_1", "accuracy_at_10"):
        line = found["all"]
        assert 0 <= line[f"{name}_low"] <= line[name] <= line[f"{name}_high"] <= 1
    assert found["all"]["precision_low"] < 0.75 < found["all"]["precision_high"]
    assert figures(gold) == found
    assert figures(gold, ", seed => 1")["all"]["precision"] == 0.75


def test_found_places_and_sets_of_rows(gold: Connection) -> None:
    found = figures(gold, ", find_mentions => true")
    assert list(found) == ["brand", "name", "all", "entity set"]
    line = found["all"]
    assert (line["precision"], line["recall"], line["mentions"]) == (0.75, 0.75, 4)
    assert line["accuracy_at_1"] is None
    # of four texts one has the wrong row, one has none and none is found
    assert found["entity set"]["f1"] == 0.75


def test_without_types_the_linker_says_them(gold: Connection) -> None:
    gold.execute("ALTER TABLE gold DROP mention_type")
    assert list(figures(gold)) == ["name", "all"]


def test_wrong_labels_are_told_and_left_out(gold: Connection, notices: Notices) -> None:
    gold.execute("INSERT INTO gold VALUES ('Contoso', 1, 9, 1), ('Contoso', 1, 8, 77), (NULL, 1, 8, 1)")
    assert figures(gold)["all"]["mentions"] == 5
    assert [notice.message for notice in notices] == [
        "labels of companies that are left out: 1 without a text; 1 of no place in their text; 1 with the key of a row that is not there"
    ]


def test_no_labels_are_no_figures(gold: Connection) -> None:
    gold.execute("DELETE FROM gold")
    for arguments in ("", ", find_mentions => true"):
        line = figures(gold, arguments)["all"]
        assert line["mentions"] == 0
        assert line["f1"] is None


def test_bad_calls_say_what_is_wrong(gold: Connection, refused: Refused) -> None:
    call = "SELECT * FROM pgembed.evaluate_linker({})"
    refused(gold, "42704", call.format("'nobody', 'gold'"), hint="pgembed.linkers")
    refused(gold, "22004", call.format("'companies', NULL"), message="gold is NULL")
    refused(gold, "42703", call.format("'companies', 'company'"), message='no column "content"')
    refused(gold, "22023", call.format("'companies', 'gold', seed => -1"), message="seed")


def test_it_needs_the_rights_of_link(gold: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    reader = make_role("evaluates")
    gold.execute(f"GRANT SELECT ON gold TO {reader}")
    with as_role(gold, reader):
        refused(gold, "42501", "SELECT * FROM pgembed.evaluate_linker('companies', 'gold')", hint=None)
    gold.execute(f"GRANT SELECT ON company TO {reader}")
    with as_role(gold, reader):
        assert figures(gold)["all"]["mentions"] == 5


def test_rows_that_the_caller_does_not_see_are_not_there(gold: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    reader = make_role("evaluates_some")
    gold.execute(f"GRANT SELECT ON gold, company TO {reader}")
    gold.execute("ALTER TABLE company ENABLE ROW LEVEL SECURITY; CREATE POLICY not_one ON company USING (id <> 1)")
    with as_role(gold, reader):
        assert figures(gold)["all"]["mentions"] == 4
