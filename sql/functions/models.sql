CREATE OR REPLACE FUNCTION pgembed._models()
RETURNS TABLE (
    name text, kind text, dim int, max_tokens int, normalized boolean, weights text, revision int, fingerprint text, is_default boolean
)
LANGUAGE plpython3u
STABLE PARALLEL RESTRICTED
COST 1000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import models
return models.models()
$python$;

COMMENT ON FUNCTION pgembed._models() IS 'internal: the rows of pgembed.models';

CREATE OR REPLACE FUNCTION pgembed.set_default_model(model text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import models
return models.set_default_model(model)
$python$;

COMMENT ON FUNCTION pgembed.set_default_model(text) IS 'choose the model that embed() and add_embedding() take when none is named';
