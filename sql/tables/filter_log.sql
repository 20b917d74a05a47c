-- Which filters searches use, without a value of them; see pgembed/advice/log.py. Not for everybody to read: its lines are of tables that not
-- everybody may read.
CREATE TABLE pgembed._filter_log (
    target regclass NOT NULL,
    column_name name NOT NULL,
    shape text NOT NULL CHECK (octet_length(shape) <= 1000),
    columns name[] NOT NULL,
    terms jsonb NOT NULL,            -- of the shape: columns, form, text, whether constants alone are left out, operator
    searches bigint NOT NULL,
    rows_sum float8 NOT NULL,        -- of the estimates of rows that pass
    ms_total float8 NOT NULL,
    first_used timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (target, column_name, shape)
) WITH (fillfactor = 50);

COMMENT ON TABLE pgembed._filter_log IS 'filters that searches used, without values, read through the view pgembed.filters_used';

SELECT pg_catalog.pg_extension_config_dump('pgembed._filter_log', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = target)');
