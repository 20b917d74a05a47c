-- Work on embedded columns: who embeds which rows, and what becomes of those that fail. See pgembed/work.

-- The next batch of rows for a worker: no line where there is nothing to do. The caller must own the table. Commit at once: until then nobody
-- else can claim rows of the column, and the claim protects nothing. Keys are written in one way, whatever the session's settings: other
-- sessions read them.
CREATE OR REPLACE FUNCTION pgembed._claim_work(
    worker text, target regclass DEFAULT NULL, column_name name DEFAULT NULL, batch_size int DEFAULT NULL, lease interval DEFAULT '5 min',
    after text DEFAULT NULL, with_failed boolean DEFAULT false
)
RETURNS TABLE (claim bigint, target regclass, column_name name, keys text[], attempts int)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO'
SET timezone = 'UTC'
AS $python$
from pgembed.udf import work
return work.claim_work(worker, target, column_name, batch_size, lease, after, with_failed)
$python$;

COMMENT ON FUNCTION pgembed._claim_work(text, regclass, name, int, interval, text, boolean) IS
    'internal: claims rows that need work, for a worker of that name; commit at once';

CREATE OR REPLACE FUNCTION pgembed._release_work(claim bigint, failed_keys text[], sqlstates text[], errors text[])
RETURNS boolean
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import work
return work.release_work(claim, failed_keys, sqlstates, errors)
$python$;

COMMENT ON FUNCTION pgembed._release_work(bigint, text[], text[], text[]) IS
    'internal: ends a claim and records which of its rows failed; false where the claim was taken over meanwhile';

CREATE OR REPLACE FUNCTION pgembed._keep_claim(claim bigint, lease interval DEFAULT '5 min')
RETURNS boolean
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import work
return work.keep_claim(claim, lease)
$python$;

COMMENT ON FUNCTION pgembed._keep_claim(bigint, interval) IS
    'internal: lets a claim last for so long from now; false where it was taken over meanwhile';

CREATE OR REPLACE FUNCTION pgembed._pause_column(target regclass, column_name name, sqlstate text, error text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import work
return work.pause_column(target, column_name, sqlstate, error)
$python$;

COMMENT ON FUNCTION pgembed._pause_column(regclass, name, text, text) IS
    'internal: lets nobody work on a column for a while, whose model or source fails as a whole';

-- Called by the generated triggers with the rights of the table's owner, in the writer's transaction.
CREATE OR REPLACE FUNCTION pgembed._embed_rows(target regclass, column_name name, keys text[])
RETURNS bigint
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import work
return work.embed_rows(target, column_name, keys)
$python$;

COMMENT ON FUNCTION pgembed._embed_rows(regclass, name, text[]) IS
    'internal: embeds rows of a table in the transaction that wrote them; what fails stays for a worker';

CREATE OR REPLACE FUNCTION pgembed.retry_failed(target regclass, column_name name DEFAULT NULL, key text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import work
return work.retry_failed(target, column_name, key)
$python$;

COMMENT ON FUNCTION pgembed.retry_failed(regclass, name, text) IS
    'let failed rows of an embedded column be embedded again at once, or the one with this key; also parked ones; how many they are';

-- A procedure with a SET clause cannot commit, so these two have none; and a source means to them what it means to their caller.

CREATE OR REPLACE PROCEDURE pgembed.work(
    target regclass DEFAULT NULL, column_name name DEFAULT NULL, max_rows bigint DEFAULT NULL, max_seconds float8 DEFAULT NULL,
    batch_size int DEFAULT NULL
)
LANGUAGE plpython3u
AS $python$
from pgembed.udf import work
return work.work(target, column_name, max_rows, max_seconds, batch_size)
$python$;

COMMENT ON PROCEDURE pgembed.work(regclass, name, bigint, float8, int) IS
    'embed what needs it in all columns of the caller''s tables, or in one, committing after each batch; returns when there is nothing to do';

CREATE OR REPLACE PROCEDURE pgembed.refresh(
    target regclass, column_name name DEFAULT NULL, batch_size int DEFAULT 1000, build_index boolean DEFAULT true,
    recheck boolean DEFAULT false
)
LANGUAGE plpython3u
AS $python$
from pgembed.udf import work
return work.refresh(target, column_name, batch_size, build_index, recheck)
$python$;

COMMENT ON PROCEDURE pgembed.refresh(regclass, name, int, boolean, boolean) IS
    'embed the pending, stale and failed rows of a table in batches, committing after each; at last index a large column that has no index; recheck looks first which rows have another text, whoever changed it';
