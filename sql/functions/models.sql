CREATE OR REPLACE FUNCTION pgembed._models()
RETURNS TABLE (
    name text, kind text, dim int, max_tokens int, normalized boolean, weights text, layers int, query_prompt text, document_prompt text,
    basis text, source text, in_backends boolean, revision int, fingerprint text, is_default boolean, problem text
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
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

CREATE OR REPLACE FUNCTION pgembed.set_threads(threads int)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import models
return models.set_threads(threads)
$python$;

COMMENT ON FUNCTION pgembed.set_threads(int) IS
    'choose how many threads a backend embeds with, from its next look at the models on; NULL for half of the cores';

CREATE OR REPLACE FUNCTION pgembed.register_model(
    name text, source text, dim int DEFAULT NULL, layers int DEFAULT NULL, normalized boolean DEFAULT NULL,
    query_prompt text DEFAULT NULL, document_prompt text DEFAULT NULL, basis text DEFAULT 'none',
    corpus regclass DEFAULT NULL, corpus_column name DEFAULT NULL, queries regclass DEFAULT NULL, queries_column name DEFAULT NULL,
    weights text DEFAULT NULL, remote_model text DEFAULT NULL, api_key text DEFAULT NULL, options jsonb DEFAULT NULL
)
RETURNS text
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 100000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import models
return models.register_model(
    name, source, dim, layers, normalized, query_prompt, document_prompt, basis, corpus, corpus_column, queries, queries_column,
    weights, remote_model, api_key, options
)
$python$;

COMMENT ON FUNCTION pgembed.register_model(
    text, text, int, int, boolean, text, text, text, regclass, name, regclass, name, text, text, text, jsonb
) IS 'make a name for a model with options, for a folder of this server or for an HTTP endpoint; the fingerprint of its vectors';

CREATE OR REPLACE FUNCTION pgembed.drop_model(name text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import models
return models.drop_model(name)
$python$;

COMMENT ON FUNCTION pgembed.drop_model(text) IS 'undo register_model(), with all revisions; refused while a column needs the model';

CREATE OR REPLACE FUNCTION pgembed.grant_model(model text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import models
return models.grant_model(model)
$python$;

COMMENT ON FUNCTION pgembed.grant_model(text) IS 'let everybody''s embed() and searches with a text call a remote model';

CREATE OR REPLACE FUNCTION pgembed.revoke_model(model text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import models
return models.revoke_model(model)
$python$;

COMMENT ON FUNCTION pgembed.revoke_model(text) IS 'undo grant_model(): only refresh calls the remote model again';
