-- Changes of a column's model: one line a column, the last change. The columns themselves say what they are (pgembed._embedding.role); here is
-- how far it came, so that whoever calls pgembed.change_model() again goes on from there.
CREATE TABLE pgembed._model_change (
    table_name regclass NOT NULL,
    column_name name NOT NULL,           -- the column that searches mean
    new_column name NOT NULL,            -- that is beside it until the switch
    old_model text,
    new_model text NOT NULL,
    new_fingerprint text NOT NULL,
    state text NOT NULL CHECK (state IN ('preparing', 'filling', 'indexing', 'measuring', 'ready', 'switched', 'finished', 'abandoned')),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    filling_since timestamptz,           -- since when somebody counts, and what was done then
    filled_before bigint,
    build_index boolean NOT NULL DEFAULT true,  -- a worker may, when the new column is full
    switched_at timestamptz,
    report jsonb,                        -- has keys of rows: for the table's owner only
    last_error text,
    PRIMARY KEY (table_name, column_name)
);

COMMENT ON TABLE pgembed._model_change IS 'internal: changes of models, read through the view pgembed.model_changes';

SELECT pg_catalog.pg_extension_config_dump('pgembed._model_change', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = table_name)');
