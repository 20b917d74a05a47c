-- What an administrator decides for the whole database. Not custom settings (SET pgembed.x): anybody may set those.
CREATE TABLE pgembed._setting (
    name text NOT NULL PRIMARY KEY CHECK (name IN ('default_model', 'threads', 'filter_log', 'search_defaults')),
    value text NOT NULL
);

COMMENT ON TABLE pgembed._setting IS 'settings of pgembed for this database, written by set_default_model(), set_threads() and set_filter_log()';

SELECT pg_catalog.pg_extension_config_dump('pgembed._setting', '');
