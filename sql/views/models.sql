CREATE OR REPLACE VIEW pgembed.models AS
SELECT
    m.name, m.kind, m.dim, m.revision, m.fingerprint, m.is_default, m.max_tokens, m.normalized, m.weights, m.layers, m.query_prompt,
    m.document_prompt, m.basis, m.source, m.in_backends,
    (
        SELECT count(*) FROM pgembed._embedding AS e JOIN pg_class AS t ON t.oid = e.table_name
        WHERE e.model = m.name AND (e.fingerprint = m.fingerprint OR m.fingerprint IS NULL)
    ) AS columns,
    m.problem
FROM pgembed._models() AS m;

COMMENT ON VIEW pgembed.models IS
    'models registered in this database or installed on this server: what each name points to, and older revisions that columns still use';
