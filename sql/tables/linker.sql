-- The registry of linkers. What is here describes; the functions that evaluate expressions, and the triggers that note changes, are ordinary
-- objects of the tables' owners in their schemas. No foreign keys: these would lock the registry's lines.
CREATE TABLE pgembed._linker (
    name text NOT NULL PRIMARY KEY,
    revision int NOT NULL DEFAULT 0  -- rises with every declaration and training, so that links say by which they were made
);

COMMENT ON TABLE pgembed._linker IS 'registry of linkers, read through the view pgembed.linkers';

CREATE TABLE pgembed._linker_target (
    linker text NOT NULL,
    number int NOT NULL,           -- of the target in its linker, never used again: what was learned calls rows by it
    target regclass NOT NULL,
    key_columns name[] NOT NULL,
    names text,                    -- as declared, SQL expressions over the target; NULL: none
    aliases text,
    types text,
    context text,                  -- an expression, or the source of the embedded column
    context_column name,           -- embedded column of the target; NULL: none
    read_function text NOT NULL,   -- of a row, by name in SQL: JSON text [name, aliases, types, context]; owned by the target's owner
    read_columns name[],           -- its arguments; NULL: the whole row
    PRIMARY KEY (linker, number),
    UNIQUE (linker, target)
);

COMMENT ON TABLE pgembed._linker_target IS 'registry of the tables that linkers link to';

CREATE TABLE pgembed._linker_source (
    linker text NOT NULL,
    number int NOT NULL,           -- of the target
    place int NOT NULL,            -- among what is declared of this target
    kind text NOT NULL CHECK (kind IN ('alias', 'column', 'table')),
    source regclass NOT NULL,      -- where it stands; of kind column the target itself
    from_columns name[],           -- of the source, they refer to target_columns; NULL: it is the target
    target_columns name[],
    to_columns name[],             -- of the source, they refer to other_columns of other; NULL: it leads to a value only
    other regclass,
    other_columns name[],
    value_column name,             -- of the source: the alias, or the value of a fact
    relation_column name,          -- of the source: its values are names of relations
    label text,                    -- the name of the relation, where no column has it
    names text,                    -- SQL expression over other, where that is no target
    names_function text,           -- what evaluates it, by name in SQL; owned by the target's owner
    names_columns name[],          -- its arguments; NULL: the whole row
    PRIMARY KEY (linker, number, place)
);

COMMENT ON TABLE pgembed._linker_source IS 'registry of the relations and tables of aliases that linkers read';

-- What a linker has learned; written by train_linker(), read by those who may read what the linker reads.
CREATE TABLE pgembed._linker_model (
    linker text NOT NULL PRIMARY KEY,
    revision int NOT NULL,
    model bytea NOT NULL,
    summary jsonb NOT NULL DEFAULT '{}',
    labels int NOT NULL DEFAULT 0,
    space text,                    -- of the vectors that it was trained with; NULL: with none
    trained_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

COMMENT ON TABLE pgembed._linker_model IS 'what linkers have learned';

-- The tables whose triggers note changes for linkers.
CREATE TABLE pgembed._linker_table (
    table_name regclass NOT NULL PRIMARY KEY,
    trigger_function text NOT NULL  -- what the triggers call, by name in SQL
);

COMMENT ON TABLE pgembed._linker_table IS 'tables that linkers read and that note their changes';

-- Which rows of tables that linkers read have changed, a line a statement. Sessions read those again. Has keys of rows, so nobody may read it.
CREATE TABLE pgembed._linker_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_oid oid NOT NULL,
    columns name[],                -- of which values are noted
    noted jsonb,                   -- an array of arrays of their values as text, a row each; NULL: everything may have changed
    pruned bigint[]                -- the lines that this one stands for; who has seen them all has seen it
);

CREATE INDEX _linker_change_table ON pgembed._linker_change (table_oid);

COMMENT ON SEQUENCE pgembed._linker_change_id_seq IS 'internal: numbers of changes, of which a writer in 256 tidies up';
COMMENT ON TABLE pgembed._linker_change IS 'changes of the tables that linkers read, for sessions that have them compiled';

SELECT pg_catalog.pg_extension_config_dump('pgembed._linker', 'WHERE EXISTS (SELECT FROM pgembed._linker_target AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.target WHERE t.linker = name)');
SELECT pg_catalog.pg_extension_config_dump('pgembed._linker_target', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = target)');
SELECT pg_catalog.pg_extension_config_dump('pgembed._linker_source', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = source) AND (other IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = other))');
SELECT pg_catalog.pg_extension_config_dump('pgembed._linker_model', '');
SELECT pg_catalog.pg_extension_config_dump('pgembed._linker_table', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = table_name)');
