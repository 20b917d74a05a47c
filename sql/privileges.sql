-- Everybody may use pgembed on what they may read; the registry is written only through functions.
GRANT USAGE ON SCHEMA pgembed TO PUBLIC;
GRANT SELECT ON pgembed._setting, pgembed._model, pgembed._embedding, pgembed._linker, pgembed._linker_target, pgembed._linker_source, pgembed._linker_table, pgembed._codec, pgembed._code, pgembed._calibration TO PUBLIC;
GRANT SELECT ON pgembed._adapter, pgembed.adapters TO PUBLIC;
GRANT SELECT ON pgembed._link_table, pgembed.link_tables TO PUBLIC;
GRANT SELECT ON pgembed._linker_reads, pgembed.filters_used, pgembed.freshness_log TO PUBLIC;
GRANT SELECT ON pgembed.model_changes TO PUBLIC;
-- All but what has keys of rows.
GRANT SELECT (table_name, column_name, new_column, old_model, new_model, new_fingerprint, state, build_index) ON pgembed._model_change TO PUBLIC;
GRANT SELECT ON pgembed._worker, pgembed.workers TO PUBLIC;
GRANT SELECT ON pgembed.failures, pgembed.work_in_progress TO PUBLIC;
GRANT SELECT ON pgembed.models, pgembed.embeddings, pgembed.linkers, pgembed.codecs, pgembed.codes, pgembed.calibrations TO PUBLIC;
GRANT SELECT ON pgembed.progress, pgembed._queue TO PUBLIC;
-- What all columns and backends depend on is an administrator's choice.
REVOKE ALL ON FUNCTION pgembed.set_default_model(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembed.set_threads(int) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembed.set_filter_log(boolean) FROM PUBLIC;
-- These open files, call URLs, or let others do so.
REVOKE ALL ON FUNCTION pgembed.register_model(
    text, text, int, int, boolean, text, text, text, regclass, name, regclass, name, text, text, text, jsonb
) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembed.drop_model(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembed.grant_model(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembed.revoke_model(text) FROM PUBLIC;
