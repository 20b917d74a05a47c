CREATE OR REPLACE FUNCTION pgembed._embed(content text, model text, role text)
RETURNS bytea
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 10000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import embed
return embed.embed(content, model, role)
$python$;

COMMENT ON FUNCTION pgembed._embed(text, text, text) IS 'internal: image of the embedding of a text';

-- The two functions embed() are SECURITY DEFINER for the unchecked relabelling, which nobody else may call: what it is given here comes straight
-- from our own code. They have no search_path of their own, for every name in them is qualified, and no operator.
CREATE OR REPLACE FUNCTION pgembed.embed(content text, model text DEFAULT NULL, role text DEFAULT 'query')
RETURNS vector
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE SECURITY DEFINER
COST 10000  -- one run of a transformer, 5 ms, in units of an operator
AS $$
BEGIN
    RETURN pgembed._vector_relabel(pgembed._embed(content, model, role));
END;
$$;

COMMENT ON FUNCTION pgembed.embed(text, text, text) IS 'embedding of a text; NULL gives NULL';

CREATE OR REPLACE FUNCTION pgembed._embed_many(content text[], model text, role text, vector_type oid)
RETURNS bytea
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import embed
return embed.embed_many(content, model, role, vector_type)
$python$;

COMMENT ON FUNCTION pgembed._embed_many(text[], text, text, oid) IS 'internal: the embeddings of an array of texts, as an array in memory';

CREATE OR REPLACE FUNCTION pgembed.embed(content text[], model text DEFAULT NULL, role text DEFAULT 'document')
RETURNS vector[]
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE SECURITY DEFINER
COST 100000
AS $$
BEGIN
    RETURN pgembed._vectors_relabel(pgembed._embed_many(content, model, role, pgembed._vector_type()));
END;
$$;

COMMENT ON FUNCTION pgembed.embed(text[], text, text) IS 'embeddings of an array of texts in one batch; order kept, NULL stays NULL';

-- moment changes with every statement of the client's and every transaction, and costs next to nothing; NULL: for a search, which follows the
-- column that its snapshot sees, whatever that is called by now.
CREATE OR REPLACE FUNCTION pgembed._embed_query(target regclass, content text, column_name name, moment float8)
RETURNS bytea
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100  -- one text a statement as a rule, and a look into the cache for each row after that
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import embed
return embed.embed_query(target, content, column_name, moment)
$python$;

COMMENT ON FUNCTION pgembed._embed_query(regclass, text, name, float8) IS 'internal: image of the embedding of a query';

CREATE OR REPLACE FUNCTION pgembed._query_vector(target regclass, content text, column_name name)
RETURNS vector
LANGUAGE sql
STABLE PARALLEL UNSAFE
COST 100
RETURN pgembed._vector(pgembed._embed_query(target, content, column_name, NULL));

COMMENT ON FUNCTION pgembed._query_vector(regclass, text, name) IS 'internal: embed_query() for a search';

CREATE OR REPLACE FUNCTION pgembed.embed_query(target regclass, content text, column_name name DEFAULT NULL)
RETURNS vector
LANGUAGE sql
STABLE PARALLEL UNSAFE
COST 100
RETURN pgembed._vector(pgembed._embed_query(
    target, content, column_name, pg_catalog.date_part('epoch', statement_timestamp()) + pg_catalog.date_part('epoch', now())
));

COMMENT ON FUNCTION pgembed.embed_query(regclass, text, name) IS 'embedding of a query with the model of an embedded column; NULL gives NULL';

CREATE OR REPLACE FUNCTION pgembed.token_count(content text, model text DEFAULT NULL)
RETURNS int
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 10000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import embed
return embed.token_count(content, model)
$python$;

COMMENT ON FUNCTION pgembed.token_count(text, text) IS 'number of tokens of a text; above max_tokens of the model the rest is cut off';
