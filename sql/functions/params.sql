-- A filter takes its values from params, and an array in JSON is no array of SQL's. A body in SQL, immutable and strict: over values that are
-- known it is a constant before its statement is planned, so the estimate sees the elements and an index is looked up by them.
CREATE OR REPLACE FUNCTION pgembed.text_array("values" jsonb)
RETURNS text[]
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN jsonb_typeof("values") <> 'null' THEN ARRAY(SELECT e FROM jsonb_array_elements_text("values") WITH ORDINALITY AS u (e, n) ORDER BY n)
END;

COMMENT ON FUNCTION pgembed.text_array(jsonb) IS
    'an array in params as an array of SQL: filter => $$ id = ANY (pgembed.text_array($1->''ids'')::int[]) $$; null in it is NULL, and so is null itself';
