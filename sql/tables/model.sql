-- Models that a superuser registered in this database, beside those installed on the server. A row never changes but in is_current and
-- in_backends: columns keep the fingerprint that they were made with. Whatever decides a path or a URL stands here, where only a superuser
-- writes; everybody may read it, so of a key only its name is kept.
CREATE TABLE pgembed._model (
    name text NOT NULL,
    revision int NOT NULL CHECK (revision > 0),
    fingerprint text NOT NULL,       -- of all that decides the vectors
    kind text NOT NULL CHECK (kind IN ('transformer', 'static', 'remote')),
    source text NOT NULL,            -- what it is made of: an installed model, its own files on the server, or a URL
    source_fingerprint text NOT NULL DEFAULT '',  -- of the files; '' for a URL
    dim int NOT NULL CHECK (dim BETWEEN 1 AND 16000),
    max_tokens int,                  -- NULL: it reads all of a text, or nobody knows
    normalized boolean NOT NULL,
    "precision" text NOT NULL,
    layers int NOT NULL DEFAULT 0,   -- 0: it has none
    query_prompt text NOT NULL DEFAULT '',
    document_prompt text NOT NULL DEFAULT '',
    basis text NOT NULL DEFAULT 'none' CHECK (basis IN ('none', 'rotation', 'pca', 'adapter')),
    basis_matrix bytea,              -- float4, little-endian, row by row; a vector v is given as matrix * v
    remote_model text,               -- what the endpoint calls it
    api_key text,                    -- where the key is: env:NAME or file:/path; never the key
    options jsonb,                   -- of the endpoint: timeouts, batch limits
    in_backends boolean NOT NULL DEFAULT false,   -- a remote one may be called by embed() and by search with a text
    is_current boolean NOT NULL DEFAULT true,     -- what the name points to
    registered_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (name, revision),
    UNIQUE (name, fingerprint),
    CHECK ((basis = 'none') = (basis_matrix IS NULL)),
    CHECK (basis_matrix IS NULL OR pg_catalog.octet_length(basis_matrix) = 4 * dim * dim),
    CHECK ((kind = 'remote') = (remote_model IS NOT NULL)),
    CHECK (api_key ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$')
);

CREATE UNIQUE INDEX _model_current ON pgembed._model (name) WHERE is_current;

COMMENT ON TABLE pgembed._model IS 'registry of models of this database, read through the view pgembed.models';

SELECT pg_catalog.pg_extension_config_dump('pgembed._model', '');
