"""Reading views: the text of a rule, as other releases than the server of the tests write it down too."""

from __future__ import annotations

from typing import Any

import pytest

from pgembed import errors, viewed
from pgembed.columns import Table

VIEW = Table(oid=900, schema="public", name="v", relkind="v", owner="ann", may_own=True, keys=())
PARTS = {
    "hasAggs": "false",
    "hasWindowFuncs": "false",
    "hasTargetSRFs": "false",
    "groupClause": "<>",
    "groupingSets": "<>",
    "havingQual": "<>",
    "distinctClause": "<>",
    "sortClause": "<>",
    "limitOffset": "<>",
    "limitCount": "<>",
    "rowMarks": "<>",
    "cteList": "<>",
    "setOperations": "<>",
}


def var(number: int, name: str, *, table: int = 1, up: int = 0) -> str:
    # with the field that PostgreSQL 16 has brought
    shown = f"{{VAR :varno {table} :varattno {number} :vartype 23 :varcollid 0 :varnullingrels (b) :varlevelsup {up} :location 7}}"
    return f"{{TARGETENTRY :expr {shown} :resno {{}} :resname {name} :ressortgroupref 0 :resorigtbl 0 :resorigcol 0 :resjunk false}}"


def rule(
    *targets: str, relation: str = ":rtekind 0 :relid 500 :inh true :relkind r", joined: str = "{RANGETBLREF :rtindex 1}", **parts: str
) -> str:
    """A query as PostgreSQL 16 and later write it: without the entries "old" and "new"."""
    listed = " ".join(target.replace("{}", str(place)) for place, target in enumerate(targets, 1))
    rest = " ".join(f":{name} {value}" for name, value in (PARTS | parts).items())
    quals = "{OPEXPR :opno 521 :args ({CONST :constlen 4 :constvalue 4 [ 3 0 0 0 -1 0 0 0 ]} {CONST :constvalue <>}) :location 69}"
    return (
        f"({{QUERY :commandType 1 {rest} :rtable ({{RANGETBLENTRY :alias <> :eref {{ALIAS :aliasname odd\\ name"
        f' :colnames ("id" "a\\ \\(b")}} {relation} :perminfoindex 1}}) :rteperminfos ({{RTEPERMISSIONINFO :relid 500}})'
        f" :jointree {{FROMEXPR :fromlist ({joined}) :quals {quals}}} :targetList ({listed}) :stmt_len 0}})"
    )


class Catalogs:
    """Relations by their numbers: (kind, rule, is it a barrier, names of columns)."""

    def __init__(self, **relations: tuple[str, str | None, bool, list[str]]) -> None:
        self.relations = {int(name.removeprefix("r")): relation for name, relation in relations.items()}

    def execute(self, statement: str, types: Any = (), values: Any = ()) -> list[dict[str, Any]]:
        return [dict(zip(("relkind", "rule", "barrier", "names"), self.relations[values[0]], strict=True))]


def look(text: str, names: list[str], **others: tuple[str, str | None, bool, list[str]]) -> viewed.View:
    catalogs: Any = Catalogs(r900=("v", text, False, names), r500=("r", None, False, []), **others)
    return viewed.look(catalogs, VIEW)


def test_columns_of_the_table_by_the_names_of_the_view() -> None:
    found = look(rule(var(3, "b"), var(1, "a"), var(3, "again")), ["b", "a", "again"])
    assert found == viewed.View(500, {3: ("b", "again"), 1: ("a",)}, "odd name", "")


def test_what_is_no_column_of_the_table_is_left_out() -> None:
    computed = (
        "{TARGETENTRY :expr {FUNCEXPR :funcid 1 :args ({VAR :varno 1 :varattno 2 :varlevelsup 0})} :resno {} :resname f :resjunk false}"
    )
    outer = var(2, "o", up=1)
    assert look(rule(computed, outer, var(1, "a")), ["f", "o", "a"]).shown == {1: ("a",)}


@pytest.mark.parametrize("name", [":expr", ":resno", "a\\ b", "\\(c", "\\{VAR", "\\\\", "<", '"quoted"', "b"])
def test_no_name_is_taken_for_a_part_of_the_rule(name: str) -> None:
    assert look(rule(var(2, name), var(1, "a")), ["whatever", "a"]).shown == {2: ("whatever",), 1: ("a",)}


def test_a_view_upon_a_view() -> None:
    upper = rule(var(2, "x"), var(1, "y"), relation=":rtekind 0 :relid 700 :relkind v")
    lower = rule(var(9, "p"), var(4, "q"))
    found = look(upper, ["x", "y"], r700=("v", lower, True, ["p", "q"]))
    assert found.shown == {4: ("x",), 9: ("y",)}
    assert found.apart == 'view "v" is a security barrier, so no index over vectors or codes serves it'


def test_a_query_in_from() -> None:
    inner = rule(var(4, "p"), var(9, "q"))[1:-1]
    found = look(rule(var(2, "x"), relation=f":rtekind 1 :subquery {inner} :security_barrier false"), ["x"])
    assert (found.home, found.shown) == (500, {9: ("x",)})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hasAggs": "true"}, "has aggregates"),
        ({"groupClause": "({SORTGROUPCLAUSE :tleSortGroupRef 1})"}, "has GROUP BY"),
        ({"setOperations": "{SETOPERATIONSTMT :op 0}"}, "has UNION"),
        ({"limitCount": "{CONST :constvalue 8 [ 5 0 0 0 0 0 0 0 ]}"}, "has LIMIT"),
        (
            {"joined": "{JOINEXPR :jointype 0 :larg {RANGETBLREF :rtindex 1} :rarg {RANGETBLREF :rtindex 1} :rtindex 1}"},
            "is not over one table",
        ),
        ({"joined": "{RANGETBLREF :rtindex 1} {RANGETBLREF :rtindex 1}"}, "is not over one table"),
        ({"relation": ":rtekind 3 :functions <>"}, "is not over a table"),
    ],
)
def test_what_is_not_over_one_table_is_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(errors.WrongObjectType, match=message):
        look(rule(var(1, "a"), **changed), ["a"])


def test_what_keeps_a_view_apart_is_told_once() -> None:
    found = look(rule(var(1, "a"), sortClause="({SORTGROUPCLAUSE :tleSortGroupRef 1})"), ["a"])
    assert found.apart == 'view "v" has ORDER BY, so no index over vectors or codes serves it'
