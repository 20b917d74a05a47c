-- Trained codecs. What a restore needs to compute codes again are the functions in the user's own schema, which pg_dump carries; here is
-- what searches and measures need beside them. A codec never changes: another one has another name.
CREATE TABLE pgembed._codec (
    name text NOT NULL PRIMARY KEY,
    table_name regclass NOT NULL,    -- the embedded column that it was trained on
    column_name name NOT NULL,
    method text NOT NULL,
    options jsonb NOT NULL,
    dim int NOT NULL,                -- of the vectors
    metric text NOT NULL,
    model text,                      -- of the vectors; NULL: adopted without one
    fingerprint text,
    kind text NOT NULL CHECK (kind IN ('bits', 'bytes', 'halfvec')),
    length int NOT NULL,             -- of a code, in bits, bytes or dimensions
    code_type text NOT NULL,         -- of a column of codes, in SQL: pgembed.binvec(768), bit(768), public.halfvec(128), shop.product_pq
    encoder text NOT NULL,           -- function of a vector, by name in SQL; owned by the table's owner
    constants_function text,         -- what the encoder takes its constants from; NULL: it is SQL alone
    domain text,                     -- made for its codes, by name in SQL; NULL: bits and halfvec need none
    packed bytea NOT NULL,           -- the codec itself, as pgembed.codecs reads it
    queries text,                    -- table that it was trained with, by name in SQL; NULL: none
    queries_column name,
    seed int NOT NULL,
    sample_rows bigint NOT NULL,     -- that it was fitted to
    table_rows bigint NOT NULL,      -- that the table had
    measured jsonb,                  -- recall and the rest when it was trained
    checked jsonb,                   -- the same when it was checked last
    -- not now(): sessions know a codec by name and time, and one may be dropped and trained anew in one transaction
    trained_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CHECK ((kind = 'bytes') = (domain IS NOT NULL))
);

COMMENT ON TABLE pgembed._codec IS 'registry of codecs, read through the view pgembed.codecs';

SELECT pg_catalog.pg_extension_config_dump('pgembed._codec', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = table_name)');
