CREATE EVENT TRIGGER pgembed_after_drop
    ON sql_drop
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED')
    EXECUTE FUNCTION pgembed._after_drop();

COMMENT ON EVENT TRIGGER pgembed_after_drop IS 'pgembed: forgets the embedded columns and linkers of dropped tables';
