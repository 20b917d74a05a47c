CREATE EVENT TRIGGER pgembed_after_alter
    ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER SCHEMA', 'ALTER INDEX')
    EXECUTE FUNCTION pgembed._after_alter();

COMMENT ON EVENT TRIGGER pgembed_after_alter IS
    'pgembed: row security of a table holds for its chunks, and what is renamed or moved is known by its new name';
