-- Splits the tables of the points by run, in PostgreSQL: 8 hash partitions each.
-- Run it once, in one transaction, while no Tensordeck server is running:
--   psql --single-transaction -v ON_ERROR_STOP=1 -f partition-points.sql DATABASE
DO $$
DECLARE
    parent text;
    part int;
    refers text;
BEGIN
    FOREACH parent IN ARRAY ARRAY[
        'journal', 'segments', 'summaries', 'run_points', 'overviews', 'payloads'
    ] LOOP
        EXECUTE format('ALTER TABLE %1$I RENAME TO %1$s_whole', parent);
        EXECUTE format('ALTER TABLE %1$s_whole RENAME CONSTRAINT pk_%1$s TO pk_%1$s_whole', parent);
        EXECUTE format(
            'CREATE TABLE %1$I (LIKE %1$s_whole INCLUDING DEFAULTS INCLUDING STORAGE) '
            'PARTITION BY HASH (run_pk)', parent);
        FOR part IN 0..7 LOOP
            EXECUTE format(
                'CREATE TABLE %1$s_%2$s PARTITION OF %1$I '
                'FOR VALUES WITH (MODULUS 8, REMAINDER %2$s)', parent, part);
        END LOOP;
        EXECUTE format('INSERT INTO %1$I SELECT * FROM %1$s_whole', parent);
        -- The same keys and references as before, by the definitions that the database has.
        FOR refers IN
            SELECT format('ADD CONSTRAINT %I %s', replace(conname, '_whole', ''), pg_get_constraintdef(oid))
            FROM pg_constraint
            WHERE conrelid = format('%s_whole', parent)::regclass AND contype IN ('p', 'f')
        LOOP
            EXECUTE format('ALTER TABLE %I %s', parent, refers);
        END LOOP;
    END LOOP;
    ALTER SEQUENCE journal_seq_seq OWNED BY journal.seq;
    DROP TABLE journal_whole, segments_whole, summaries_whole, run_points_whole,
        overviews_whole, payloads_whole;
    CREATE INDEX ix_journal_run_pk ON journal (run_pk);
    CREATE INDEX ix_summaries_run_pk ON summaries (run_pk);
END $$;
