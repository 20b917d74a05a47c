CREATE OR REPLACE VIEW pgembed.codes AS
SELECT table_name, column_name, embedding_column, codec, is_generated, is_active FROM pgembed._code;

COMMENT ON VIEW pgembed.codes IS 'columns of codes';
