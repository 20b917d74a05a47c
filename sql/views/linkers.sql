CREATE OR REPLACE VIEW pgembed.linkers AS
SELECT l.name, l.target, l.names, l.aliases, l.context_column
FROM pgembed._linker AS l
JOIN pg_catalog.pg_class AS t ON t.oid = l.target;

COMMENT ON VIEW pgembed.linkers IS 'declared linkers';
