-- Settings of the database for plain SQL. Strict order, because plain SQL says ORDER BY and seldom sorts again: relaxed order would give rows in
-- another order than the one that was asked for. It loses a few more of the nearest rows, which a look at 100 candidates in place of 40 gains back.
-- Both check that the caller owns the database, so they are open to all.
CREATE OR REPLACE FUNCTION pgembed.set_search_defaults(
    iterative_scan text DEFAULT 'strict_order', ef_search int DEFAULT 100, max_scan_tuples int DEFAULT 100000,
    scan_mem_multiplier float8 DEFAULT 4, max_probes int DEFAULT 32768
)
RETURNS TABLE (setting text, value text, previous text)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 1000 ROWS 6
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import search_defaults
return search_defaults.set_search_defaults(iterative_scan, ef_search, max_scan_tuples, scan_mem_multiplier, max_probes)
$python$;

COMMENT ON FUNCTION pgembed.set_search_defaults(text, int, int, float8, int) IS
    'give the database settings with which plain queries lose fewer rows behind a filter: iterative index scans and their limits; for its owner';

CREATE OR REPLACE FUNCTION pgembed.reset_search_defaults()
RETURNS TABLE (setting text, value text, restored boolean)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 1000 ROWS 6
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import search_defaults
return search_defaults.reset_search_defaults()
$python$;

COMMENT ON FUNCTION pgembed.reset_search_defaults() IS
    'take back what set_search_defaults() gave to the database: what was there before is there again';
