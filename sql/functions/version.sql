CREATE OR REPLACE FUNCTION pgembed.version()
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN '@pgembed_version@';

COMMENT ON FUNCTION pgembed.version() IS 'version of the pgembed objects in this database';
