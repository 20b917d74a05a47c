CREATE EVENT TRIGGER pgembed_after_alter
    ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER SCHEMA')
    EXECUTE FUNCTION pgembed._after_alter();

COMMENT ON EVENT TRIGGER pgembed_after_alter IS 'pgembed: row security of a table holds for its chunks, and codecs are found in a renamed schema';
