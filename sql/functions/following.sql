-- What generated triggers tell one another, in the memory of the backend: see pgembed/following/syncing.py. Callable by everybody, for triggers run
-- with the rights of tables' owners; whoever calls them fools nobody but himself. They run no SQL, so no search_path is set: it would cost
-- more than they do.
CREATE OR REPLACE FUNCTION pgembed._touch(label text, transaction text, depth int, key text, most int)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import following
return following.touch(label, transaction, depth, key, most)
$python$;

COMMENT ON FUNCTION pgembed._touch(text, text, int, text, int) IS
    'internal: remember the key of a row that an UPDATE has made stale, until the statement ends; no more than one above the limit';

CREATE OR REPLACE FUNCTION pgembed._take_touched(label text, transaction text, depth int)
RETURNS text[]
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import following
return following.take_touched(label, transaction, depth)
$python$;

COMMENT ON FUNCTION pgembed._take_touched(text, text, int) IS 'internal: the keys that rows of a statement have left, which are forgotten by it';

-- The trigger at the end of statements that only leave work behind, where a worker sleeps: its condition says that (see
-- pgembed/following/syncing.py), for whoever writes pays for it in each statement. It has the writer's rights, and all names are qualified.
CREATE OR REPLACE FUNCTION pgembed._wake_after()
RETURNS trigger
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._wake_workers();
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION pgembed._wake_after() IS 'internal: trigger that wakes a worker for the rows of a statement';
