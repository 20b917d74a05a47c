-- The registry of linkers: which expressions name a row of the target and which embedded column describes it.
CREATE TABLE pgembed._linker (
    name text NOT NULL PRIMARY KEY,
    target regclass NOT NULL,
    names text NOT NULL,     -- SQL expression over the target: text
    aliases text,            -- SQL expression over the target: text[]
    context_column name,     -- embedded column of the target; NULL: names alone decide
    names_function text NOT NULL,  -- of a row, by name in SQL: text[], the name first, then the aliases; owned by the target's owner
    names_columns name[]     -- its arguments; NULL: the whole row
);

COMMENT ON TABLE pgembed._linker IS 'registry of linkers, read through the view pgembed.linkers';

SELECT pg_catalog.pg_extension_config_dump('pgembed._linker', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = target)');
