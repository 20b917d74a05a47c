-- Everybody may use pgembed on what they may read; the registry is written only through functions.
GRANT USAGE ON SCHEMA pgembed TO PUBLIC;
GRANT SELECT ON pgembed._setting, pgembed._embedding, pgembed._linker TO PUBLIC;
GRANT SELECT ON pgembed.models, pgembed.embeddings, pgembed.linkers TO PUBLIC;
-- What all columns and backends depend on is an administrator's choice.
REVOKE ALL ON FUNCTION pgembed.set_default_model(text) FROM PUBLIC;
