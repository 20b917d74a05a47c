-- Linkers learn from labels, an ordinary table of the caller's, and from corrections beside tables of links; both are read with the
-- caller's rights.

CREATE OR REPLACE FUNCTION pgembed.create_link_labels(name text, linker text)
RETURNS regclass
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import train_linker
return train_linker.create_link_labels(name, linker)
$python$;

COMMENT ON FUNCTION pgembed.create_link_labels(text, text) IS
    'makes a table of labels: content, start_char, end_char, entity_key, and entity_table for a linker of several; what train_linker() and evaluate_linker() read';

CREATE OR REPLACE PROCEDURE pgembed.train_linker(name text, labels regclass DEFAULT NULL, seed int DEFAULT 0)
LANGUAGE plpython3u
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import train_linker
return train_linker.train_linker(name, labels, seed)
$python$;

COMMENT ON PROCEDURE pgembed.train_linker(text, regclass, int) IS
    'let a linker learn from labels and from all corrections of its links; the same labels and seed give the same linker';

CREATE OR REPLACE FUNCTION pgembed.evaluate_linker(
    name text, gold regclass, find_mentions boolean DEFAULT false, target_precision float8 DEFAULT NULL, pronouns boolean DEFAULT false,
    seed int DEFAULT 0
)
RETURNS TABLE (
    mention_type text, mentions bigint, "precision" float8, precision_low float8, precision_high float8,
    recall float8, recall_low float8, recall_high float8, f1 float8, f1_low float8, f1_high float8,
    accuracy_at_1 float8, accuracy_at_1_low float8, accuracy_at_1_high float8,
    accuracy_at_10 float8, accuracy_at_10_low float8, accuracy_at_10_high float8
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000000 ROWS 5
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import train_linker
return train_linker.evaluate_linker(name, gold, find_mentions, target_precision, pronouns, seed)
$python$;

COMMENT ON FUNCTION pgembed.evaluate_linker(text, regclass, boolean, float8, boolean, int) IS
    'how right a linker is on labels that it has not learned from, by type of mention; with 95 % intervals; find_mentions lets it find the places too';
