"""Who writes to the targets of sinks, and when: triggers in Postgres, MONITOR in Redis. Connections are told apart by
their ports, and the processes that they belong to by /proc."""
import os
import re
import threading
import time

from verdict import Violation, must

# Writing statements leave a row; takeovers and positions with what they were before; versions that go back too.
TRIGGERS = """
create schema audit;
create table audit.write (id bigserial primary key, at timestamptz not null default clock_timestamp(), port int,
    relation text not null, op text not null);
create table audit.position (id bigint not null, port int, topic text, partition int, epoch_before bigint,
    epoch bigint, next_before bigint, next bigint);
create table audit.regress (relation text, before jsonb, after jsonb);
create function audit.wrote() returns trigger language plpgsql security definer as $$ begin
    insert into audit.write (port, relation, op) values (inet_client_port(), tg_relid::regclass, tg_op);
    return null; end $$;
create function audit.moved() returns trigger language plpgsql security definer as $$ begin
    if tg_op = 'INSERT' then
        insert into audit.position values (nextval('audit.write_id_seq'), inet_client_port(), new.topic, new.partition,
            0, new.epoch, null, new.next_offset);
    else
        insert into audit.position values (nextval('audit.write_id_seq'), inet_client_port(), new.topic, new.partition,
            old.epoch, new.epoch, old.next_offset, new.next_offset);
    end if;
    return null; end $$;
create function audit.regressed() returns trigger language plpgsql security definer as $$ begin
    insert into audit.regress values (tg_relid::regclass, to_jsonb(old), to_jsonb(new));
    return null; end $$;
do $$ declare t record; begin
    for t in select c.oid::regclass as name, exists (select from pg_attribute a where a.attrelid = c.oid and
                 a.attname = 'version') as versioned, c.relname
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname in ('tally', 'tally_next') and c.relkind in ('r', 'p') and not c.relispartition loop
        execute format('create trigger audit_wrote after insert or update or delete on %s for each statement
                        execute function audit.wrote()', t.name);
        if t.relname = 'sink_position' then
            execute format('create trigger audit_moved after insert or update on %s for each row
                            execute function audit.moved()', t.name);
        end if;
        if t.versioned then
            execute format('create trigger audit_regressed after update on %s for each row
                            when (new.version < old.version) execute function audit.regressed()', t.name);
        end if;
    end loop; end $$;
"""


def ports_of(instance):
    """Local ports of the connections that a process has."""
    folder = f"/proc/{instance.process.pid}/fd"
    links = (os.readlink(os.path.join(folder, name)) for name in os.listdir(folder))
    sockets = {link for link in links if link.startswith("socket:[")}
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return {int(row[1].rsplit(":", 1)[1], 16) for row in rows if f"socket:[{row[9]}]" in sockets}


def listed(ports):
    return ",".join(map(str, ports)) or "0"


class Audit:
    """In a Postgres whose tables are there."""

    def __init__(self, postgres):
        self.postgres = postgres
        postgres.query(TRIGGERS)

    def mark(self, ports=()):
        """What is written later is told apart by it. With what those ports have written so far: what they began before
        must not be committed later either."""
        mark = int(self.postgres.query("select nextval('audit.write_id_seq')")[0])
        return mark, self.written(ports, mark)

    def written(self, ports, until):
        return int(self.postgres.query(f"select count(*) from audit.write where id <= {until} and port in "
                                       f"({listed(ports)})")[0])

    def check_sleeper(self, ports, mark):
        """It wrote nothing on the connections of before unless it took over, as anybody may, first."""
        since, before = mark
        must(self.written(ports, since) == before, "a zombie commits nothing that it began before",
             self.written(ports, since), before)
        taken = self.postgres.query(f"""select coalesce(min(id), 9223372036854775807) from audit.position
            where id > {since} and port in ({listed(ports)}) and epoch > epoch_before""")[0]
        found = self.postgres.rows(f"""select * from audit.write where id > {since} and id < {taken}
            and port in ({listed(ports)}) order by id limit 5""")
        # The statement that takes over is an update itself, and its own row comes behind that of the trigger.
        must(not found, "a zombie writes nothing to Postgres", found)

    def writes(self, ports):
        return int(self.postgres.query(f"select count(*) from audit.write where port in ({listed(ports)})")[0])

    def check(self):
        """I5: versions, positions and epochs never went back."""
        found = self.postgres.rows("select * from audit.regress limit 5")
        must(not found, "I5: no version goes back in Postgres", found)
        found = self.postgres.rows("select * from audit.position where epoch < epoch_before or next < next_before "
                                   "limit 5")
        must(not found, "I5: no position or epoch goes back in Postgres", found)


MONITORED = re.compile(rb"\+\d+\.\d+ \[\d+ ([^\]]+)\] \"([^\"]+)\"(.*)")
READS = {b"get", b"hget", b"hexists", b"hgetall", b"hmget", b"mget", b"exists", b"smembers", b"time", b"ttl", b"pttl",
         b"info", b"type", b"ping"}


class Monitor:
    """All commands that a Redis runs, those inside scripts too, from begin to end of the `with`."""

    def __init__(self, redis):
        self.client = redis.client()
        self.client.socket.settimeout(None)
        self.lines = []
        self.failed = None
        self.thread = threading.Thread(target=self.read, daemon=True)

    def __enter__(self):
        must(self.client("MONITOR") == b"OK", "Redis can be watched")
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.client.socket.shutdown(2)
        self.thread.join()
        self.client.close()

    def read(self):
        """Kept: (port of whoever asked, name of the command, what follows it)."""
        caller = None
        while True:
            line = self.client.file.readline()
            if not line:
                return
            found = MONITORED.match(line)
            if not found:
                continue
            address, name, rest = found[1], found[2].lower(), found[3]
            if address != b"lua":
                caller = int(address.rsplit(b":", 1)[1]) if b":" in address else 0
            elif name not in READS:
                self.lines.append((caller, name, rest[:200]))

    def mark(self):
        """What comes later is told apart by it; what was done has been seen by then."""
        time.sleep(0.2)
        return len(self.lines)

    def check_sleeper(self, ports, since):
        """As in Audit. The script that takes over adds the partition's name to their set first."""
        for port, name, rest in self.lines[since:]:
            if port in ports and name != b"sadd":
                raise Violation(f"a zombie writes nothing to Redis: {name} {rest}")
            if port in ports:
                return

    def writes(self, ports):
        return sum(port in ports for port, _, _ in self.lines)
