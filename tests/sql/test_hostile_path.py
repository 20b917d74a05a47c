"""Procedures that commit can have no search_path of their own: what they run means pg_catalog's operators and functions by name.

Whoever may create an operator in a schema that comes first in somebody's search_path would else run code with that somebody's rights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
import shifted

Connection = psycopg.Connection[Any]

# Operators and functions that fit what our statements may compare better than PostgreSQL's own, which need a cast: so they are taken though
# pg_catalog comes first. Each raises.
EVIL = r"""
CREATE SCHEMA evil;
DO $do$
DECLARE
    one record;
    kinds text[] := '{bool,"char",name,int8,int2,int4,text,oid,regclass,regproc,regtype,float4,float8,timestamptz,interval,bytea}';
BEGIN
    FOR one IN
        SELECT o.name, l.name AS l, r.name AS r FROM unnest('{=,<>,<,>,<=,>=,||,&&,@>,<@,+,-}'::text[]) AS o (name),
            unnest(kinds) AS l (name), unnest(kinds) AS r (name)
        WHERE NOT EXISTS (SELECT FROM pg_operator AS p WHERE p.oprname = o.name AND p.oprnamespace = 'pg_catalog'::regnamespace
            AND p.oprleft = l.name::regtype AND p.oprright = r.name::regtype)
    LOOP
        EXECUTE format('CREATE FUNCTION evil.%I (%I, %I) RETURNS boolean LANGUAGE plpgsql AS %L', 'op_' || md5(one.name), one.l, one.r,
            format('BEGIN RAISE EXCEPTION ''evil operator %s (%s, %s)''; END', one.name, one.l, one.r));
        EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %I, RIGHTARG = %I, FUNCTION = evil.%I)', one.name, one.l, one.r,
            'op_' || md5(one.name));
    END LOOP;
    FOR one IN
        SELECT f.name, l.name AS l, r.name AS r
        FROM unnest('{format,concat,concat_ws,string_agg,substr,has_table_privilege,pg_has_role}'::text[]) AS f (name),
            unnest(kinds) AS l (name), unnest(kinds) AS r (name)
        WHERE NOT EXISTS (SELECT FROM pg_proc AS p WHERE p.proname = f.name AND p.pronamespace = 'pg_catalog'::regnamespace
            AND p.proargtypes::text = concat(l.name::regtype::oid, ' ', r.name::regtype::oid))
    LOOP
        EXECUTE format('CREATE FUNCTION evil.%I (%I, %I) RETURNS text LANGUAGE plpgsql AS %L', one.name, one.l, one.r,
            format('BEGIN RAISE EXCEPTION ''evil function %s (%s, %s)''; END', one.name, one.l, one.r));
    END LOOP;
END $do$;
"""
TABLE = """
    CREATE TABLE public.t (id int PRIMARY KEY, body text, size int);
    INSERT INTO public.t SELECT n, chr(97 + n % 26), n % 5 FROM generate_series(1, 60) AS n;
    UPDATE public.t SET body = 'wa' || body;
    SELECT pgembed.add_embedding('public.t', 'body', 'old', sync => 'queued');
"""
# In this order each has work to do.
CALLS = (
    "CALL pgembed.work('public.t', max_rows => 20)",
    "CALL pgembed.refresh('public.t')",
    "CALL pgembed.refresh('public.t', recheck => true)",
    "SELECT pgembed.train_codec('bits', 'public.t', 'sign', measure => false)",
    "SELECT pgembed.add_code('public.t', 'bits')",
    "CALL pgembed.fill_code('public.t')",
    "CREATE INDEX ON public.t USING hnsw (embedding public.vector_cosine_ops)",
    "CALL pgembed.calibrate('public.t', sample => 10)",
    "CALL pgembed.calibrate(sample => 10)",
    "SELECT pgembed.drop_code('public.t')",
    "CALL pgembed.change_model('public.t', 'new', switch => false)",
    "CALL pgembed.change_model('public.t', 'new')",
    "SELECT pgembed.finish_model_change('public.t')",
    "UPDATE public.t SET body = 'wab' WHERE id = 1",
    "CALL pgembed.work()",
    "SELECT pgembed.add_embedding('public.t', 'body', 'old', column_name => 'part', chunk_tokens => 8, sync => 'queued')",
    "CALL pgembed.work('public.t', 'part', max_rows => 20)",
    "CALL pgembed.refresh('public.t', 'part')",
    "CALL pgembed.change_model('public.t', 'new', 'part', switch => false)",
    "SELECT pgembed.rollback_model('public.t', 'part')",
    "CALL pgembed.change_model('public.t', 'new', 'part')",
    "SELECT pgembed.finish_model_change('public.t', 'part')",
)

# A condition means what it means to the caller, whose operators these are; the first has none, the others name PostgreSQL's.
SAME_SIZE = "l.size OPERATOR(pg_catalog.=) r.size AND l.id OPERATOR(pg_catalog.<>) r.id"
JOINS = (
    "SELECT FROM pgembed.semantic_join(NULL::public.t, NULL::public.t, k => 2, mapping => 'mutual', join_type => 'left')",
    f"SELECT FROM pgembed.semantic_join(NULL::public.t, NULL::public.seen, condition => '{SAME_SIZE}')",
    "SELECT FROM pgembed.semantic_join_keys('public.seen', 'public.t', mapping => 'one_to_one', not_equal => true)",
    "SELECT FROM pgembed.semantic_join_keys('public.t', 'public.t', attributes => '[\"body\", \"size\"]', candidates => 'hybrid',"
    f" condition => '{SAME_SIZE}')",
    "SELECT pgembed.create_labels('public.told', 'public.t', 'public.t')",
    "INSERT INTO public.told SELECT n::text, (n OPERATOR(pg_catalog.+) 1)::text, n OPERATOR(pg_catalog.>) 20"
    " FROM generate_series(1, 40) AS n",
    "SELECT FROM pgembed.semantic_join_keys('public.t', 'public.t', labels => 'public.told', candidates => 'hybrid', k => 3)",
    "SELECT FROM pgembed.review_pairs('public.t', 'public.t', 'public.told', attributes => '[\"size\"]')",
    "SELECT FROM pgembed.explain_join(NULL::public.t, NULL::public.seen, condition => 'l.body LIKE r.body', max_distance => 0.5)",
    "SELECT pgembed.semantic_join_into('public.made', 'public.t', 'public.seen', search_recall => 0.9)",
)

# Keys of two types that a relation compares, an embedded context, links, corrections, labels.
LINKS = (
    "CREATE TABLE public.kin (t_id int8 REFERENCES public.t, other int8 REFERENCES public.t, alias text, said name)",
    "INSERT INTO public.kin SELECT n, n OPERATOR(pg_catalog.+) 1, pg_catalog.format('%s', n), 'next' FROM generate_series(1, 59) AS n",
    "SELECT pgembed.create_linker('kin', 'public.t', names => 'body', context => 'embedding', relations =>"
    """ '[{"table": "public.kin", "from": "t_id", "to": "other", "relation": "said"}]',"""
    """ alias_tables => '[{"table": "public.kin", "from": "t_id", "alias": "alias"}]')""",
    "CREATE TABLE public.note (a int8, b name, body text, PRIMARY KEY (a, b))",
    "INSERT INTO public.note SELECT n, 'x', pg_catalog.format('they saw wab and \"wac\" at %s', n) FROM generate_series(1, 9) AS n",
    "CALL pgembed.link_table('kin', 'public.note', 'body', 'public.linked', batch_size => 4)",
    "UPDATE public.t SET body = 'wac' WHERE id OPERATOR(pg_catalog.=) 3",
    "UPDATE public.kin SET alias = 'wad' WHERE t_id OPERATOR(pg_catalog.=) 5",
    "UPDATE public.note SET body = 'wad' WHERE a OPERATOR(pg_catalog.=) 5",
    "CALL pgembed.link_table('kin', 'public.note', 'body', 'linked')",
    """SELECT pgembed.correct_link('linked', '["1", "x"]', 11, 14, '5')""",
    "SELECT FROM pgembed.link_corrections('linked')",
    "SELECT FROM public.linked_entity",
    "SELECT FROM pgembed.link(NULL::public.t, 'they saw wab', filter => 'size OPERATOR(pg_catalog.>) 0')",
    "SELECT FROM pgembed.link_keys('kin', 'they saw wab')",
    "SELECT FROM pgembed.explain_link('kin', 'they saw wab')",
    "SELECT pgembed.create_link_labels('public.told', 'kin')",
    "INSERT INTO public.told (content, start_char, end_char, entity_key)"
    " SELECT pg_catalog.format('we saw %s', body), 8, 11, id::text FROM public.t WHERE id OPERATOR(pg_catalog.<) 27",
    "CALL pgembed.train_linker('kin', 'public.told')",
    "SELECT FROM pgembed.evaluate_linker('kin', 'public.told')",
    "SELECT pgembed.alter_linker('kin', names => 'body')",
    "SELECT pgembed.drop_linker('kin')",
)


@pytest.fixture(scope="module")
def database(server_url: str, installed_server: Any) -> Iterator[str]:
    with shifted.database(server_url, installed_server.template_dbname, f"pgembed_evil_{os.getpid()}") as name:
        yield name


@pytest.fixture
def hostile(server_url: str, database: str) -> Iterator[Connection]:
    with closing(psycopg.connect(server_url, dbname=database, autocommit=True)) as connection:
        connection.execute(TABLE)
        connection.execute(EVIL)
        connection.execute("SET search_path = evil, public")
        yield connection
        connection.execute("RESET search_path; DROP SCHEMA evil CASCADE")
        connection.execute("DROP TABLE public.t CASCADE")


def test_the_schema_is_hostile(hostile: Connection) -> None:
    for statement, said in (
        (b"SELECT 'pg_class'::regclass = 'pg_class'::regclass", "evil operator ="),
        (b"SELECT format('x'::text, 'y'::name)", "evil function format"),
    ):
        with pytest.raises(psycopg.errors.RaiseException, match=said):
            hostile.execute(statement)


def test_what_commits_runs_nobodys_operators_and_functions(hostile: Connection) -> None:
    for statement in CALLS:
        hostile.execute(statement.encode())
    found = hostile.execute("SELECT fresh OPERATOR(pg_catalog.=) rows FROM pgembed.embeddings").fetchall()
    assert found == [(True,), (True,)]


def test_joins_run_nobodys_operators_and_functions(hostile: Connection) -> None:
    hostile.execute("CALL pgembed.refresh('public.t')")
    hostile.execute("CREATE VIEW public.seen AS SELECT id, body, size, embedding FROM public.t")
    try:
        for statement in JOINS:
            hostile.execute(statement.encode())
        found = hostile.execute("SELECT count(*) OPERATOR(pg_catalog.=) 60 FROM public.made").fetchall()
        assert found == [(True,)]
    finally:
        hostile.execute("DROP VIEW public.seen; DROP TABLE IF EXISTS public.told, public.made")


def test_linking_runs_nobodys_operators_and_functions(hostile: Connection) -> None:
    hostile.execute("CALL pgembed.refresh('public.t')")
    try:
        for statement in LINKS:
            hostile.execute(statement.encode())
        assert hostile.execute("SELECT count(*) OPERATOR(pg_catalog.>=) 9 FROM public.linked").fetchall() == [(True,)]
    finally:
        hostile.execute("DROP TABLE IF EXISTS public.linked, public.linked_correction, public.note, public.kin, public.told CASCADE")
