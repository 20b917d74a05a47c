CREATE TRIGGER work_follows
    AFTER DELETE OR UPDATE OF column_name, fingerprint, source_function ON pgembed._embedding
    FOR EACH ROW EXECUTE FUNCTION pgembed._work_follows();

COMMENT ON TRIGGER work_follows ON pgembed._embedding IS 'internal: claims, failures and pauses of a column go with it';

-- All columns but last_error, which is written often.
CREATE TRIGGER declare
    AFTER INSERT OR UPDATE OF
        column_name, source, source_function, source_columns, hash_column, trigger_name, trigger_function, model, fingerprint, metric, sync,
        by_hand, work_index, role, change_of, adopted, chunk_table, chunk_tokens, chunk_overlap
    ON pgembed._embedding
    FOR EACH ROW EXECUTE FUNCTION pgembed._declare();

COMMENT ON TRIGGER declare ON pgembed._embedding IS 'internal: says on the trigger of an embedded column what the registry says of it';
