CREATE OR REPLACE VIEW pgembed.link_tables AS
SELECT l.destination, l.linker, l.source, l.text_column, l.entities, l.corrections, l.texts
FROM pgembed._link_table AS l
JOIN pg_catalog.pg_class AS t ON t.oid = l.destination;

COMMENT ON VIEW pgembed.link_tables IS 'tables of links that pgembed.link_table() keeps';
COMMENT ON COLUMN pgembed.link_tables.destination IS 'the table of links';
COMMENT ON COLUMN pgembed.link_tables.linker IS 'by which they are made';
COMMENT ON COLUMN pgembed.link_tables.source IS 'the table of texts';
COMMENT ON COLUMN pgembed.link_tables.text_column IS 'its column of texts';
COMMENT ON COLUMN pgembed.link_tables.texts IS 'internal table: which texts are linked';
COMMENT ON COLUMN pgembed.link_tables.corrections IS 'what people have said of the links';
COMMENT ON COLUMN pgembed.link_tables.entities IS 'view of what holds: links and corrections';
