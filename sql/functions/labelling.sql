-- Labels are an ordinary table of the caller's: filled by INSERT or COPY, corrected by UPDATE, exported by COPY. Both functions run as the
-- caller; review_pairs carries a condition, so no search_path is pinned there and everything else is schema-qualified.

CREATE OR REPLACE FUNCTION pgembed.create_labels(name text, "left" regclass, "right" regclass)
RETURNS regclass
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import labelling
return labelling.create_labels(name, left, right)
$python$;

COMMENT ON FUNCTION pgembed.create_labels(text, regclass, regclass) IS
    'makes a table of labelled pairs: left_key, right_key, is_match, labelled_by, labelled_at; what labels => names in a join';

CREATE OR REPLACE FUNCTION pgembed.review_pairs(
    "left" regclass, "right" regclass, labels regclass DEFAULT NULL, n int DEFAULT 20, left_column name DEFAULT NULL,
    right_column name DEFAULT NULL, k int DEFAULT 1, max_distance float8 DEFAULT NULL, mapping text DEFAULT 'many',
    condition text DEFAULT NULL, params jsonb DEFAULT NULL, "precision" float8 DEFAULT NULL, recall float8 DEFAULT NULL,
    attributes jsonb DEFAULT NULL, candidates text DEFAULT 'dense', not_equal boolean DEFAULT false,
    hub_correction text DEFAULT 'auto', search_recall float8 DEFAULT 1, hubness name DEFAULT NULL
)
RETURNS TABLE (left_key text, right_key text, left_text text, right_text text, probability float8, reason text)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000 ROWS 20
AS $python$
from pgembed.udf import labelling
return labelling.review_pairs(
    left, right, labels, n, left_column, right_column, k, max_distance, mapping, condition, params, precision, recall, attributes,
    candidates, not_equal, hub_correction, search_recall, hubness
)
$python$;

COMMENT ON FUNCTION pgembed.review_pairs(
    regclass, regclass, regclass, int, name, name, int, float8, text, text, jsonb, float8, float8, jsonb, text, boolean, text, float8, name
) IS 'the n pairs worth labelling next, with a reason for each';
