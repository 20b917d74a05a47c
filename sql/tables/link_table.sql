-- Tables of links that pgembed.link_table() keeps: what they are of, and what was made beside them. No foreign keys: these would lock the
-- registry's lines.
CREATE TABLE pgembed._link_table (
    destination regclass NOT NULL PRIMARY KEY,
    linker text NOT NULL,
    source regclass NOT NULL,      -- has the texts
    text_column name NOT NULL,
    key_columns name[],            -- of the source, as the caller has named them; NULL: its primary key
    texts regclass NOT NULL,       -- the text that each row had when it was linked, as a hash
    corrections regclass NOT NULL,
    entities regclass NOT NULL,    -- the view
    layout json NOT NULL           -- names of columns: {"source": [...], "entities": [{"number", "columns", "runner_up", "row"}]}
);

COMMENT ON TABLE pgembed._link_table IS 'registry of the tables that pgembed.link_table() keeps, read through the view pgembed.link_tables';

SELECT pg_catalog.pg_extension_config_dump('pgembed._link_table', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = destination)');
