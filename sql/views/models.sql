CREATE OR REPLACE VIEW pgembed.models AS
SELECT
    m.name, m.kind, m.dim, m.revision, m.is_default,
    (
        SELECT count(*) FROM pgembed._embedding AS e JOIN pg_class AS t ON t.oid = e.table_name
        WHERE e.model = m.name AND (e.fingerprint = m.fingerprint OR m.fingerprint IS NULL)
    ) AS columns,
    m.max_tokens, m.weights, m.source, m.problem, m.normalized, m.layers, m.query_prompt, m.document_prompt, m.basis, m.in_backends,
    m.fingerprint
FROM pgembed._models() AS m;

COMMENT ON VIEW pgembed.models IS 'models of this database and this server; and older revisions that columns still use';
COMMENT ON COLUMN pgembed.models.name IS 'what SQL calls it';
COMMENT ON COLUMN pgembed.models.kind IS 'transformer, static or remote';
COMMENT ON COLUMN pgembed.models.dim IS 'numbers in a vector';
COMMENT ON COLUMN pgembed.models.revision IS 'counts the models that the name has meant';
COMMENT ON COLUMN pgembed.models.is_default IS 'whether it is taken where no model is named';
COMMENT ON COLUMN pgembed.models.columns IS 'embedded columns of this database that it has made';
COMMENT ON COLUMN pgembed.models.max_tokens IS 'tokens of a text that it reads; NULL: all';
COMMENT ON COLUMN pgembed.models.weights IS 'precision of its numbers: fp32 or int8';
COMMENT ON COLUMN pgembed.models.source IS 'where it comes from: a file, another model or a URL';
COMMENT ON COLUMN pgembed.models.problem IS 'why it cannot be used; NULL: it can';
COMMENT ON COLUMN pgembed.models.normalized IS 'whether vectors are scaled to length 1';
COMMENT ON COLUMN pgembed.models.layers IS 'layers that run, where not all do';
COMMENT ON COLUMN pgembed.models.query_prompt IS 'put before queries';
COMMENT ON COLUMN pgembed.models.document_prompt IS 'put before texts that are stored';
COMMENT ON COLUMN pgembed.models.basis IS 'the basis that its vectors are turned into';
COMMENT ON COLUMN pgembed.models.in_backends IS 'whether sessions compute it themselves; else a URL is called';
COMMENT ON COLUMN pgembed.models.fingerprint IS 'of what makes its vectors: equal ones make equal vectors';
