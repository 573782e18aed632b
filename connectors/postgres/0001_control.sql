-- for: control
-- What is there once, whichever content is being read or built: the state of a rebuild, epochs, and
-- the functions that do what the sink's role may not do itself.
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA tally_sink;

CREATE SEQUENCE epoch AS bigint;

CREATE TABLE rebuild (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    building   boolean NOT NULL DEFAULT false,
    discard    boolean NOT NULL DEFAULT false,
    began_at   timestamptz,
    swapped_at timestamptz
);
COMMENT ON TABLE rebuild IS 'the one row that says whether tally_next is being built';
COMMENT ON COLUMN rebuild.only_one IS 'there is one row';
COMMENT ON COLUMN rebuild.building IS 'sinks write to tally_next; readers go on reading tally';
COMMENT ON COLUMN rebuild.discard IS 'tally_next holds old content that may be emptied';
COMMENT ON COLUMN rebuild.began_at IS 'when the last rebuild began';
COMMENT ON COLUMN rebuild.swapped_at IS 'when the last one took the place of the old content';
INSERT INTO rebuild DEFAULT VALUES;

-- Takeovers, rebuilds and swaps, one at a time, so that epochs are given in the order in which they
-- count.
CREATE FUNCTION serialize() RETURNS void
LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock(8388081, 1) $$;

-- The ledger's partition of a month, made when it is not there. A table is attached, not created as
-- a partition, because only that lets readers and writers of other months go on.
CREATE FUNCTION ledger_partition(content text, month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month);
    partition text := format('ledger_entry_%s', to_char(first, 'YYYYMM'));
BEGIN
    IF content NOT IN ('tally', 'tally_next') THEN
        RAISE EXCEPTION 'no content is called %', content USING ERRCODE = '3F000';
    END IF;
    IF to_regclass(format('%I.%I', content, partition)) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(8388081, 2);
    IF to_regclass(format('%I.%I', content, partition)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %1$I.ledger_entry INCLUDING ALL,
                    CONSTRAINT month CHECK (recorded_at >= %3$L AND recorded_at < %4$L))',
                   content, partition, first::timestamp AT TIME ZONE 'UTC',
                   (first + interval '1 month') AT TIME ZONE 'UTC');
    EXECUTE format('ALTER TABLE %1$I.ledger_entry ATTACH PARTITION %1$I.%2$I
                    FOR VALUES FROM (%3$L) TO (%4$L)',
                   content, partition, first::timestamp AT TIME ZONE 'UTC',
                   (first + interval '1 month') AT TIME ZONE 'UTC');
    EXECUTE format('ALTER TABLE %I.%I DROP CONSTRAINT month', content, partition);
END $$;

-- Empties tally_next; a part of what follows.
CREATE FUNCTION empty_next() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tables text;
BEGIN
    SELECT string_agg(format('%I.%I', schemaname, tablename), ', ' ORDER BY tablename)
    INTO tables FROM pg_tables WHERE schemaname = 'tally_next';
    EXECUTE 'TRUNCATE ' || tables;
    UPDATE tally_sink.rebuild SET discard = false;
END $$;

-- Frees what a swap left in tally_next, if nobody has begun to build there again.
CREATE FUNCTION discard_old() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM tally_sink.serialize();
    IF (SELECT discard AND NOT building FROM tally_sink.rebuild) THEN
        PERFORM tally_sink.empty_next();
    END IF;
END $$;

-- Begins to build the content anew: every owner of today is fenced, tally_next is empty.
CREATE FUNCTION rebuild_begin() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM tally_sink.serialize();
    PERFORM tally_sink.empty_next();
    UPDATE tally.sink_position SET epoch = nextval('tally_sink.epoch');
    UPDATE tally_sink.rebuild SET building = true, began_at = clock_timestamp();
END $$;

-- Whether every partition of the new content has got as far as the old one.
CREATE FUNCTION rebuild_complete() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT building FROM tally_sink.rebuild) AND NOT EXISTS (
        SELECT FROM tally.sink_position AS old
        LEFT JOIN tally_next.sink_position AS new USING (topic, partition)
        WHERE old.next_offset > coalesce(new.next_offset, 0));
END $$;

-- Puts the new content into the place of the old one, once it is complete. The locks keep out whoever
-- writes; a reader's statement ends on what it began with.
CREATE FUNCTION rebuild_swap() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT tally_sink.rebuild_complete() THEN
        RETURN false;
    END IF;
    PERFORM tally_sink.serialize();
    LOCK TABLE tally.sink_position, tally_next.sink_position IN SHARE ROW EXCLUSIVE MODE;
    IF NOT tally_sink.rebuild_complete() THEN
        RETURN false;
    END IF;
    ALTER SCHEMA tally RENAME TO tally_old;
    ALTER SCHEMA tally_next RENAME TO tally;
    ALTER SCHEMA tally_old RENAME TO tally_next;
    UPDATE tally_sink.rebuild SET building = false, discard = true, swapped_at = clock_timestamp();
    RETURN true;
END $$;

REVOKE ALL ON FUNCTION serialize(), ledger_partition(text, date), empty_next(), discard_old(),
    rebuild_begin(), rebuild_complete(), rebuild_swap() FROM PUBLIC;

-- Lets the roles tally_writer and tally_reader, where they exist, do what they are for. Called at the
-- end of every migration.
CREATE FUNCTION grant_roles() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    content text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tally_reader') THEN
        GRANT USAGE ON SCHEMA tally_sink TO tally_reader;
        GRANT SELECT ON tally_sink.schema_migration, tally_sink.rebuild TO tally_reader;
        FOREACH content IN ARRAY ARRAY['tally', 'tally_next'] LOOP
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO tally_reader', content);
            EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO tally_reader', content);
        END LOOP;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tally_writer') THEN
        GRANT USAGE ON SCHEMA tally_sink TO tally_writer;
        GRANT SELECT ON tally_sink.schema_migration, tally_sink.rebuild TO tally_writer;
        GRANT USAGE ON SEQUENCE tally_sink.epoch TO tally_writer;
        GRANT EXECUTE ON FUNCTION tally_sink.serialize(), tally_sink.ledger_partition(text, date),
            tally_sink.discard_old(), tally_sink.rebuild_begin(), tally_sink.rebuild_complete(),
            tally_sink.rebuild_swap() TO tally_writer;
        FOREACH content IN ARRAY ARRAY['tally', 'tally_next'] LOOP
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO tally_writer', content);
            EXECUTE format('GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA %I TO tally_writer',
                           content);
            EXECUTE format('GRANT DELETE ON %1$I.price, %1$I.product_category TO tally_writer',
                           content);
        END LOOP;
    END IF;
END $$;
