-- Maps that queries of a column go through before they are compared with its rows: from the space of another model into the column's, or
-- from what a model says into what a user's labels say. A line never changes; it counts while the column's vectors are of the fingerprint
-- that it was fitted for. The numbers are sums over many texts, but they come from the table's own: they are as public as a codec's constants.
CREATE TABLE pgembed._adapter (
    table_name regclass NOT NULL,
    column_name name NOT NULL,
    adapter text NOT NULL,            -- SHA-256 of all that decides what comes out
    kind text NOT NULL CHECK (kind IN ('compensation', 'low_rank')),
    method text NOT NULL,
    model text NOT NULL,              -- that queries are embedded with
    fingerprint text NOT NULL,
    column_fingerprint text NOT NULL, -- of the model that made the column's vectors
    query_dim int NOT NULL CHECK (query_dim > 0),
    dim int NOT NULL CHECK (dim > 0),
    rank int CHECK (rank > 0),        -- of what is added to a query; NULL: the map is whole
    matrix bytea NOT NULL,            -- float4, little-endian, row by row
    right_matrix bytea,
    bias bytea NOT NULL,
    normalized boolean NOT NULL,      -- what comes out is given the length 1
    measured jsonb NOT NULL,          -- what was found before and after, on queries that it was not fitted to
    made_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (table_name, column_name),
    -- whatever forgets an embedded column forgets this with it
    FOREIGN KEY (table_name, column_name) REFERENCES pgembed._embedding ON UPDATE CASCADE ON DELETE CASCADE,
    CHECK ((rank IS NULL) = (right_matrix IS NULL)),
    CHECK (rank IS NULL OR query_dim = dim),
    CHECK (pg_catalog.octet_length(bias) = 4 * dim),
    CHECK (pg_catalog.octet_length(matrix) = 4 * dim * coalesce(rank, query_dim)),
    CHECK (rank IS NULL OR pg_catalog.octet_length(right_matrix) = 4 * dim * rank)
);

COMMENT ON TABLE pgembed._adapter IS 'registry of the maps that queries go through, read through the view pgembed.adapters';

SELECT pg_catalog.pg_extension_config_dump('pgembed._adapter', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = table_name)');
