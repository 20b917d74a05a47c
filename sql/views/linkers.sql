-- Every column that a linker knows by name.
CREATE OR REPLACE VIEW pgembed._linker_reads AS
SELECT DISTINCT r.linker, r.table_name, n.name
FROM (
    SELECT t.linker, t.target AS table_name, t.key_columns || coalesce(t.read_columns, '{}') AS columns FROM pgembed._linker_target AS t
    UNION ALL
    SELECT t.linker, t.target, s.target_columns
    FROM pgembed._linker_target AS t JOIN pgembed._linker_source AS s ON s.linker = t.linker AND s.number = t.number
    UNION ALL
    SELECT s.linker, s.source, array_remove(
        coalesce(s.from_columns, '{}') || coalesce(s.to_columns, '{}') || ARRAY[s.value_column, s.relation_column], NULL
    )
    FROM pgembed._linker_source AS s
    UNION ALL
    SELECT s.linker, s.other, s.other_columns || coalesce(s.names_columns, '{}') FROM pgembed._linker_source AS s WHERE s.other IS NOT NULL
) AS r
CROSS JOIN LATERAL unnest(r.columns) AS n (name);

COMMENT ON VIEW pgembed._linker_reads IS 'internal: columns that linkers know by name';

-- rows is what PostgreSQL last counted; what a linker has learned is read with the rights of the view's owner, and only told in numbers.
CREATE OR REPLACE VIEW pgembed.linkers AS
SELECT l.name,
    CASE
        WHEN gone.name IS NOT NULL THEN format('column %s of table %s is gone: alter_linker', gone.name, gone.table_name)
        WHEN t.lost IS NOT NULL THEN format('column %s of its context is gone: alter_linker', t.lost)
        WHEN t.spaces > 1 THEN 'its contexts are of different models: change_model'
        WHEN split_part(m.space, ':', 1) <> t.fingerprint THEN 'model of its column changed: train again'
        ELSE 'ready'
    END AS status,
    t.targets, t.rows, coalesce(m.labels, 0) AS labels, l.revision, t.names, m.trained_at, t.key, t.aliases, t.types, t.context, t.relations
FROM pgembed._linker AS l
JOIN LATERAL (
    SELECT array_agg(t.target ORDER BY t.number) AS targets,
        array_agg(array_to_string(t.key_columns, ', ') ORDER BY t.number) AS key,
        array_agg(t.names ORDER BY t.number) AS names,
        array_agg(concat_ws(', ', t.aliases, (
            SELECT string_agg(format('%s.%s', s.source, s.value_column), ', ' ORDER BY s.place)
            FROM pgembed._linker_source AS s WHERE s.linker = l.name AND s.number = t.number AND s.kind = 'alias'
        )) ORDER BY t.number) AS aliases,
        array_agg(t.types ORDER BY t.number) AS types,
        array_agg(coalesce(t.context_column::text, t.context) ORDER BY t.number) AS context,
        array_agg((
            SELECT string_agg(CASE WHEN s.kind = 'column' THEN s.label
                ELSE format('%s.%s', s.source, coalesce(s.relation_column::text, s.label)) END, ', ' ORDER BY s.place)
            FROM pgembed._linker_source AS s WHERE s.linker = l.name AND s.number = t.number AND s.kind <> 'alias'
        ) ORDER BY t.number) AS relations,
        sum(greatest(c.reltuples, 0))::float8 AS rows,
        min(t.context_column::text) FILTER (WHERE t.context_column IS NOT NULL AND e.column_name IS NULL) AS lost,
        count(DISTINCT e.fingerprint) AS spaces, min(e.fingerprint) AS fingerprint
    FROM pgembed._linker_target AS t
    JOIN pg_class AS c ON c.oid = t.target
    LEFT JOIN pgembed._embedding AS e ON e.table_name = t.target AND e.column_name = t.context_column
    WHERE t.linker = l.name
) AS t ON t.targets IS NOT NULL
LEFT JOIN pgembed._linker_model AS m ON m.linker = l.name
LEFT JOIN LATERAL (
    SELECT r.table_name, r.name FROM pgembed._linker_reads AS r
    WHERE r.linker = l.name AND NOT EXISTS (
        SELECT FROM pg_attribute AS a WHERE a.attrelid = r.table_name AND a.attname = r.name AND NOT a.attisdropped
    )
    LIMIT 1
) AS gone ON true;

COMMENT ON VIEW pgembed.linkers IS 'declared linkers, and what they need; arrays have an element for each target';
COMMENT ON COLUMN pgembed.linkers.name IS 'of the linker';
COMMENT ON COLUMN pgembed.linkers.status IS 'what it needs; ready: nothing';
COMMENT ON COLUMN pgembed.linkers.targets IS 'tables whose rows it links to';
COMMENT ON COLUMN pgembed.linkers.rows IS 'of them all, by PostgreSQL''s count';
COMMENT ON COLUMN pgembed.linkers.labels IS 'it has learned from';
COMMENT ON COLUMN pgembed.linkers.revision IS 'counts its changes; links of another one are made anew';
COMMENT ON COLUMN pgembed.linkers.names IS 'SQL that gives a row''s name';
COMMENT ON COLUMN pgembed.linkers.trained_at IS 'when it last learned';
COMMENT ON COLUMN pgembed.linkers.key IS 'columns that tell a row';
COMMENT ON COLUMN pgembed.linkers.aliases IS 'where other names come from';
COMMENT ON COLUMN pgembed.linkers.types IS 'SQL that gives a row''s type';
COMMENT ON COLUMN pgembed.linkers.context IS 'embedded column or SQL that says what a row is about';
COMMENT ON COLUMN pgembed.linkers.relations IS 'to other rows';
