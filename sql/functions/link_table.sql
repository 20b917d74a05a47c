-- Texts of a whole table, linked. A procedure with a SET clause cannot commit, so it has none; the filter means what it means to its caller,
-- and everything else is schema-qualified. Links are made with the rights of whoever calls, and written with those of their table's owner.

CREATE OR REPLACE PROCEDURE pgembed.link_table(
    linker text, source regclass, text_column text, "into" text, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    "precision" float8 DEFAULT NULL, pronouns boolean DEFAULT false, key text DEFAULT NULL, batch_size int DEFAULT 256,
    relink boolean DEFAULT false
)
LANGUAGE plpython3u
AS $python$
from pgembed.udf import link_table
return link_table.link_table(
    linker, source, text_column, into, filter, params, precision, pronouns, key, batch_size, relink
)
$python$;

COMMENT ON PROCEDURE pgembed.link_table(text, regclass, text, text, text, jsonb, float8, boolean, text, int, boolean) IS
    'link the texts of a table, or of a view, into a table that is made for them: new and changed texts only, all after the linker has changed;'
    ' committing after each batch; relink does all of them again';

CREATE OR REPLACE FUNCTION pgembed.correct_link(
    "into" regclass, source_key text, start_char int, end_char int, entity_key text DEFAULT NULL, entity_table regclass DEFAULT NULL
)
RETURNS text
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import link_table
return link_table.correct_link(into, source_key, start_char, end_char, entity_key, entity_table)
$python$;

COMMENT ON FUNCTION pgembed.correct_link(regclass, text, int, int, text, regclass) IS
    'say which row a place in a linked text means, or without a key that it means none; returns the words there; kept beside the links and learned from';

CREATE OR REPLACE FUNCTION pgembed.link_corrections("into" regclass)
RETURNS TABLE (
    source_key text, start_char int, end_char int, mention text, entity_table regclass, entity_key text, is_stale boolean,
    corrected_by name, corrected_at timestamptz
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 10000 ROWS 100
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import link_table
return link_table.link_corrections(into)
$python$;

COMMENT ON FUNCTION pgembed.link_corrections(regclass) IS
    'what people have said of the links in a table; is_stale where the text does not have these words there any more';
