-- Codecs: training, encoding, measuring, and what is dropped.

-- One code, for encoders that SQL alone cannot write. Immutable in truth, for the fingerprint says which constants there must be; they are
-- fetched once a session. PL/Python runs SQL in a subtransaction, which no parallel plan allows before PostgreSQL 17, so its part runs none.
-- No search_path is set, which would take a tenth of the time: every name is qualified.
CREATE OR REPLACE FUNCTION pgembed._encode(constants regproc, fingerprint text, vector bytea)
RETURNS bytea
LANGUAGE plpgsql
IMMUTABLE STRICT PARALLEL SAFE
COST 1000
AS $$
DECLARE
    code bytea := pgembed._encode_known(fingerprint, vector);
BEGIN
    IF code IS NULL THEN
        code := pgembed._encode_with(fingerprint, pgembed._constants(constants), vector);
    END IF;
    RETURN code;
END;
$$;

COMMENT ON FUNCTION pgembed._encode(regproc, text, bytea) IS
    'internal: the code of a vector as vector_send() gives it; of halfvec its image as a vector';

CREATE OR REPLACE FUNCTION pgembed._encode_known(fingerprint text, vector bytea)
RETURNS bytea
LANGUAGE plpython3u
IMMUTABLE STRICT PARALLEL SAFE
COST 1000
AS $python$
from pgembed.udf import codecs
return codecs.encode_known(fingerprint, vector)
$python$;

COMMENT ON FUNCTION pgembed._encode_known(text, bytea) IS
    'internal: the code of a vector; NULL where this session does not know the codec of that fingerprint';

CREATE OR REPLACE FUNCTION pgembed._encode_with(fingerprint text, constants bytea, vector bytea)
RETURNS bytea
LANGUAGE plpython3u
IMMUTABLE PARALLEL SAFE
COST 100000
AS $python$
from pgembed.udf import codecs
return codecs.encode_with(fingerprint, constants, vector)
$python$;

COMMENT ON FUNCTION pgembed._encode_with(text, bytea, bytea) IS
    'internal: the same with the codec''s constants, which this session knows from now on; those of another fingerprint are refused';

-- As the caller. Whoever writes through a view need not be let into the schema of the table behind it: then the registry has them.
CREATE OR REPLACE FUNCTION pgembed._constants(constants regproc)
RETURNS bytea
LANGUAGE plpgsql
STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    may boolean;
    called text;
    packed bytea;
BEGIN
    SELECT has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE'),
           format('"%s"."%s"', replace(n.nspname, '"', '""'), replace(p.proname, '"', '""'))
    INTO may, called
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE p.oid = constants AND p.pronargs = 0 AND p.prorettype = 'bytea'::regtype;
    IF NOT FOUND THEN
        RAISE undefined_object USING
            MESSAGE = format('%s is not a function that returns the constants of a codec', constants),
            HINT = 'Train the codec anew, or restore its functions.';
    ELSIF may THEN
        EXECUTE format('SELECT %s()', called) INTO packed;
    ELSE
        packed := (SELECT c.packed FROM pgembed._codec AS c WHERE c.constants_function = called LIMIT 1);
    END IF;
    RETURN packed;
END;
$$;

COMMENT ON FUNCTION pgembed._constants(regproc) IS 'internal: what a codec''s function of constants returns, or what the registry has of it';

-- Where a scan of a large table begins is by default where another one is just now, and the sample would not be the same one again.
CREATE OR REPLACE FUNCTION pgembed.train_codec(
    name text, target regclass, method text, column_name name DEFAULT NULL, bits int DEFAULT NULL, dims int DEFAULT NULL,
    bytes int DEFAULT NULL, centered boolean DEFAULT NULL, rotation text DEFAULT NULL, residual_bits int DEFAULT NULL,
    queries regclass DEFAULT NULL, queries_column name DEFAULT NULL, sample_rows int DEFAULT 50000, seed int DEFAULT 1,
    code_type text DEFAULT NULL, measure boolean DEFAULT true
)
RETURNS regproc
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 100000
SET search_path = pg_catalog, pg_temp
SET synchronize_seqscans = off
AS $python$
from pgembed.udf import codecs
return codecs.train_codec(
    name, target, method, column_name, bits, dims, bytes, centered, rotation, residual_bits, queries, queries_column, sample_rows, seed,
    code_type, measure
)
$python$;

COMMENT ON FUNCTION pgembed.train_codec(
    text, regclass, text, name, int, int, int, boolean, text, int, regclass, name, int, int, text, boolean
) IS 'fit a codec to an embedded column and make a function of its name that encodes vectors; the function';

CREATE OR REPLACE FUNCTION pgembed.retrain_codec(name text, new_name text DEFAULT NULL)
RETURNS regproc
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 100000
SET search_path = pg_catalog, pg_temp
SET synchronize_seqscans = off
AS $python$
from pgembed.udf import codecs
return codecs.retrain_codec(name, new_name)
$python$;

COMMENT ON FUNCTION pgembed.retrain_codec(text, text) IS
    'fit the same kind of codec to the column as it is now, beside the old one; by default called NAME_2; its function';

CREATE OR REPLACE FUNCTION pgembed.drop_codec(name text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import codecs
return codecs.drop_codec(name)
$python$;

COMMENT ON FUNCTION pgembed.drop_codec(text) IS 'undo train_codec(); refused while a column of codes is made with it';

-- A function knows its schema by number, the registry by name. What it names is set right only where it is gone, and where the renamed schema
-- has an encoder of the name that belongs to the table's owner: to anybody else's, nothing leads.
CREATE OR REPLACE FUNCTION pgembed._codecs_moved(namespace oid)
RETURNS void
LANGUAGE sql
VOLATILE PARALLEL UNSAFE SECURITY DEFINER  -- harmless to anybody
SET search_path = pg_catalog, pg_temp
AS $$
    WITH moved AS (
        SELECT DISTINCT c.name, format('"%s".', replace(n.nspname, '"', '""')) AS qualifier
        FROM pgembed._codec AS c
        JOIN pg_class AS t ON t.oid = c.table_name
        JOIN pg_proc AS p ON p.pronamespace = namespace AND p.proname = c.name AND p.proowner = t.relowner
        JOIN pg_namespace AS n ON n.oid = namespace
        WHERE to_regproc(c.encoder) IS NULL
    )
    UPDATE pgembed._codec AS c SET
        encoder = m.qualifier || format('"%s"', replace(c.name, '"', '""')),
        constants_function = CASE WHEN c.constants_function IS NOT NULL
            THEN m.qualifier || format('"%s_constants"', replace(c.name, '"', '""')) END,
        domain = CASE WHEN c.domain IS NOT NULL THEN m.qualifier || format('"%s_code"', replace(c.name, '"', '""')) END,
        code_type = CASE WHEN c.domain IS NULL THEN c.code_type
            ELSE coalesce(format_type(to_regtype(m.qualifier || format('"%s_code"', replace(c.name, '"', '""'))), NULL), c.code_type) END
    FROM moved AS m WHERE m.name = c.name
$$;

COMMENT ON FUNCTION pgembed._codecs_moved(oid) IS 'internal: a schema has been renamed, and the codecs in it are found by its new name';
