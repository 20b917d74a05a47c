-- Another model for an embedded column while the table is in use; see pgembed/changing/.

CREATE OR REPLACE PROCEDURE pgembed.change_model(
    target regclass, model text, column_name name DEFAULT NULL, wait boolean DEFAULT true, build_index boolean DEFAULT true,
    batch_size int DEFAULT NULL, switch boolean DEFAULT true
)
LANGUAGE plpython3u
AS $python$
from pgembed.udf import change_model
return change_model.change_model(target, model, column_name, wait, build_index, batch_size, switch)
$python$;

COMMENT ON PROCEDURE pgembed.change_model(regclass, text, name, boolean, boolean, int, boolean) IS
    'give an embedded column another model while the table is in use: a second column, or table of chunks, filled, indexed, compared, then switched to; call it again to go on';

CREATE OR REPLACE FUNCTION pgembed.switch_model(
    target regclass, column_name name DEFAULT NULL, allow_missing boolean DEFAULT false, timeout interval DEFAULT '10 s'
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import change_model
return change_model.switch_model(target, column_name, allow_missing, timeout)
$python$;

COMMENT ON FUNCTION pgembed.switch_model(regclass, name, boolean, interval) IS
    'let searches use the column of the new model, all at once; the old one is kept as ..._previous and followed on; allow_missing switches though rows lack new vectors';

CREATE OR REPLACE FUNCTION pgembed.rollback_model(target regclass, column_name name DEFAULT NULL, timeout interval DEFAULT '10 s')
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import change_model
return change_model.rollback_model(target, column_name, timeout)
$python$;

COMMENT ON FUNCTION pgembed.rollback_model(regclass, name, interval) IS
    'undo switch_model() at once; before the switch: give up the change and drop the new column';

CREATE OR REPLACE FUNCTION pgembed.finish_model_change(
    target regclass, column_name name DEFAULT NULL, timeout interval DEFAULT '10 s'
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import change_model
return change_model.finish_model_change(target, column_name, timeout)
$python$;

COMMENT ON FUNCTION pgembed.finish_model_change(regclass, name, interval) IS
    'drop the column, or table of chunks, of the old model with its index and triggers, after switch_model(); from then on there is no way back';

CREATE OR REPLACE FUNCTION pgembed.model_change_indexes(
    target regclass, column_name name DEFAULT NULL, concurrently boolean DEFAULT true
)
RETURNS SETOF text
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import change_model
return change_model.model_change_indexes(target, column_name, concurrently)
$python$;

COMMENT ON FUNCTION pgembed.model_change_indexes(regclass, name, boolean) IS
    'the CREATE INDEX statements that the column of the new model still lacks; run them by psql''s \gexec';

CREATE OR REPLACE FUNCTION pgembed._model_progress(
    target regclass, column_name name, state text, seconds float8, filled_before bigint,
    OUT rows bigint, OUT done bigint, OUT failed bigint, OUT rate float8, OUT eta interval
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import change_model
return change_model.how_far(target, column_name, state, seconds, filled_before)
$python$;

COMMENT ON FUNCTION pgembed._model_progress(regclass, name, text, float8, bigint) IS 'internal: how far the change of a model is, as the caller';
