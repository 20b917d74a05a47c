-- The guide, for whoever has psql and nothing else. It reads the catalogs and a file of the package.
CREATE OR REPLACE FUNCTION pgembed.help(topic text DEFAULT NULL)
RETURNS SETOF text
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 10000 ROWS 50
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import help
return help.page(topic)
$python$;

COMMENT ON FUNCTION pgembed.help(text) IS
    'lines of text on a function, view or subject of pgembed, with examples: SELECT pgembed.help(''search''); without a topic all that there is';
