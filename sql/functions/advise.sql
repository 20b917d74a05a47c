-- Which filters are used, and what indexes they would be served by.

CREATE OR REPLACE FUNCTION pgembed.set_filter_log(is_on boolean)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import advise
return advise.set_filter_log(is_on)
$python$;

COMMENT ON FUNCTION pgembed.set_filter_log(boolean) IS
    'count, or count no longer, which filters the searches of this database use, without values; other sessions know within ten seconds';

CREATE OR REPLACE FUNCTION pgembed._flush_filter_log()
RETURNS int
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE SECURITY DEFINER  -- it takes nothing: what it writes is in the memory of the interpreter, where only our code puts it
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import advise
return advise.flush_filter_log()
$python$;

COMMENT ON FUNCTION pgembed._flush_filter_log() IS 'internal: write down which filters this session has counted; the number of lines';

-- Filters mean what they mean to the caller, so no search_path is set.
CREATE OR REPLACE FUNCTION pgembed.advise(target regclass, column_name name DEFAULT NULL, filters text[] DEFAULT NULL)
RETURNS TABLE (
    statement text, reason text, kind text, columns name[], index_bytes bigint, reads_now bigint, reads_then bigint, searches bigint
)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE  -- in a stable function PostgreSQL refuses EXPLAIN, which changes nothing
COST 100000 ROWS 5
AS $python$
from pgembed.udf import advise
return advise.advise(target, column_name, filters)
$python$;

COMMENT ON FUNCTION pgembed.advise(regclass, name, text[]) IS
    'statements that would make filtered searches of a table quicker, in order, and why: for these filters, or for those that were counted';
