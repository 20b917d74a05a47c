CREATE OR REPLACE VIEW pgembed.codecs AS
SELECT name, table_name, column_name, method, options, kind, length, trained_at FROM pgembed._codec;

COMMENT ON VIEW pgembed.codecs IS 'trained codecs: what they are, what they cost in recall, and when to train them anew';
