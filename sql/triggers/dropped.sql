CREATE EVENT TRIGGER pgembed_after_drop
    ON sql_drop
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'ALTER TABLE')
    EXECUTE FUNCTION pgembed._after_drop();

COMMENT ON EVENT TRIGGER pgembed_after_drop IS 'pgembed: forgets the embedded columns and linkers of dropped tables, and dropped columns';

CREATE EVENT TRIGGER pgembed_before_drop
    ON ddl_command_start
    WHEN TAG IN ('DROP EXTENSION')
    EXECUTE FUNCTION pgembed._before_drop_extension();

COMMENT ON EVENT TRIGGER pgembed_before_drop IS 'pgembed: DROP EXTENSION pgembed without CASCADE says what it would take along';
