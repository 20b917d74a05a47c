-- Columns of codes. A column of the user's own table, filled by a trigger or by PostgreSQL (a generated column); several may stand beside
-- one embedded column, and searches use the one that is active, once it is filled.
CREATE TABLE pgembed._code (
    table_name regclass NOT NULL,
    column_name name NOT NULL,
    embedding_column name NOT NULL,
    codec text NOT NULL,
    is_generated boolean NOT NULL,
    trigger_name name,
    trigger_function text,           -- by name in SQL
    is_active boolean NOT NULL,
    is_filled boolean NOT NULL,      -- every row with a vector has its code, and the trigger keeps it so
    PRIMARY KEY (table_name, column_name),
    CHECK (is_generated = (trigger_name IS NULL)),
    CHECK (is_generated = (trigger_function IS NULL))
);

CREATE UNIQUE INDEX _code_active ON pgembed._code (table_name, embedding_column) WHERE is_active;

COMMENT ON TABLE pgembed._code IS 'registry of columns of codes, read through the view pgembed.codes';

SELECT pg_catalog.pg_extension_config_dump('pgembed._code', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = table_name)');
