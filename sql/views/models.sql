CREATE OR REPLACE VIEW pgembed.models AS
SELECT name, kind, dim, revision, fingerprint, is_default, max_tokens, normalized, weights
FROM pgembed._models();

COMMENT ON VIEW pgembed.models IS 'models installed on this server';
