-- The registry of embedded columns. What is here describes; what acts (source function, trigger, index) are ordinary objects in the
-- user's own schema, owned by the table's owner, so pg_dump carries them and dropping the table drops them.
CREATE TABLE pgembed._embedding (
    table_name regclass NOT NULL,
    column_name name NOT NULL,
    source text,             -- as declared; NULL: adopted without one
    source_function text,    -- what is evaluated, by name in SQL; owned by the table's owner; text, for pg_upgrade keeps no regproc
    source_columns name[],   -- its arguments; NULL: the whole row
    hash_column name,        -- see pgembed.freshness(); NULL: rows are not followed
    trigger_name name,       -- marks a row stale when its source text has changed
    trigger_function text,   -- what it calls, by name in SQL
    model text,              -- NULL: adopted without one, queries are vectors
    fingerprint text,        -- of the model's weights and options; vectors of another fingerprint are of another space
    metric text NOT NULL DEFAULT 'cosine' CHECK (metric IN ('cosine', 'l2', 'inner_product')),
    sync text NOT NULL DEFAULT 'auto' CHECK (sync IN ('auto', 'immediate', 'queued', 'manual')),
    by_hand text NOT NULL DEFAULT 'mark' CHECK (by_hand IN ('mark', 'refuse')),  -- what becomes of a vector that somebody else writes
    work_index text,         -- over the rows that need work, by name in SQL; NULL: none
    role text NOT NULL DEFAULT 'current' CHECK (role IN ('current', 'next', 'previous')),  -- see pgembed.change_model()
    change_of name,          -- the column that a next or previous one stands beside
    adopted boolean NOT NULL DEFAULT false,  -- the column was the user's own before: dropping the embedding keeps it
    last_error text,         -- never quotes a row: everybody may read this table
    chunk_table regclass,    -- has the vectors, several for each row; NULL: a row has one, in the column itself
    chunk_tokens int,
    chunk_overlap int,
    PRIMARY KEY (table_name, column_name),
    CHECK ((source IS NULL) = (hash_column IS NULL)),
    CHECK ((source IS NULL) = (source_function IS NULL)),
    CHECK ((source IS NULL) = (trigger_name IS NULL)),
    CHECK ((model IS NULL) = (fingerprint IS NULL)),
    CHECK ((chunk_table IS NULL) = (chunk_tokens IS NULL)),
    CHECK ((chunk_table IS NULL) = (chunk_overlap IS NULL)),
    CHECK ((role = 'current') = (change_of IS NULL))
);

COMMENT ON TABLE pgembed._embedding IS 'registry of embedded columns, read through the view pgembed.embeddings';

-- A dropped table leaves its line behind; it must not be dumped, for its number may be another table's after the restore.
SELECT pg_catalog.pg_extension_config_dump('pgembed._embedding', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = table_name) AND (chunk_table IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = chunk_table))');
