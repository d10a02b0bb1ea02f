"""Measures the same work in DuckDB on one thread: the keys of an `unmatched` file in SQL, and a
comparison of ten million keys in both directions. Usage: duckdb_keys.py FILE [keys]. Prints Markdown lines like `bars`."""

import statistics
import sys
import time

import duckdb

TURNS = 3
KEYS = 10_000_000

# The data that the recipe uses: rows, readers' names, and addresses numbered in order of appearance.
FILE = """
with whole as (select data, devices from read_json(?, maximum_object_size = 1000000000{columns})),
rows as (select unnest(data) as r, generate_subscripts(data, 1) as n from whole),
readers as (select d.device_id as id, d.device_name as name
            from (select unnest(devices) as d from whole)),
numbers as (select addr, row_number() over (order by first) as number
            from (select r.dev_addr as addr, min(n) as first from rows group by 1)),
known as (select r, name, number from rows
          join readers on readers.id = r.device_id
          join numbers on numbers.addr is not distinct from r.dev_addr)
"""
# Reads only these fields, as text.
COLUMNS = """, columns = {{
  data: 'STRUCT(host_timestamp VARCHAR, {more} dev_addr VARCHAR, device_id VARCHAR)[]',
  devices: 'STRUCT(device_id VARCHAR, device_name VARCHAR)[]'}}"""
# The simplest query: DuckDB infers the types in the file.
AS_IT_COMES = (
    FILE.format(columns="")
    + """
select md5(strftime(r.host_timestamp, '%Y-%m-%dT%H:%M:%S') || name || number) as key from known
"""
)
# Only the keys. The time is cut out of its text without parsing.
KEYS_ALONE = (
    FILE.format(columns=COLUMNS.format(more=""))
    + """
select md5(replace(substr(r.host_timestamp, 1, 19), ' ', 'T') || name || number) as key from known
"""
)
SUM = "select count(*), bit_xor(hash(key)) from made"
# The same result as a derivation: rows with their keys, with both times parsed and formatted.
ROWS_AND_KEYS = (
    FILE.format(columns=COLUMNS.format(more="field_timestamp VARCHAR,"))
    + """
select *, md5(host_read_time || name || number) as key from (
  select strftime(substr(r.host_timestamp, 1, 19)::timestamp, '%Y-%m-%dT%H:%M:%S') as host_read_time,
    strftime(substr(r.field_timestamp, 1, 19)::timestamp, '%Y-%m-%dT%H:%M:%S') as field_read_time,
    name, number
  from known)
"""
)
QUERIES = {
    "keys, types inferred": AS_IT_COMES,
    "keys, fields and types given": KEYS_ALONE,
    "rows and keys, fields and types given": ROWS_AND_KEYS,
}


def timed(work):
    times = []
    for _ in range(TURNS):
        started = time.process_time()
        work()
        times.append((time.process_time() - started) * 1000)
    return statistics.median(times)


def keys(connection, file):
    made = {}
    for what, query in QUERIES.items():
        table = f"create or replace temp table made as {query}"
        took = timed(lambda: connection.execute(table, [file]))
        count, made[what] = connection.execute(SUM).fetchone()
        print(f"| DuckDB, {count} `unmatched` rows in SQL, one thread: {what} | {took:.0f} ms | derive + key in 1/5 |")
    assert len(set(made.values())) == 1, "the queries make different keys"


def compare(connection):
    side = """create temp table {0} as
      select md5(case when n % 1000 = 0 then '{0} ' || n else n::varchar end) as key
      from range({1}) as t(n)"""
    for name in ("expected", "published"):
        connection.execute(side.format(name, KEYS))
    anti = "select count(*) from {} anti join {} using (key)"

    def both():
        for one, other in (("expected", "published"), ("published", "expected")):
            found = connection.execute(anti.format(one, other)).fetchone()[0]
            assert found == KEYS // 1000, found

    print(f"| DuckDB, anti-join of ten million keys both ways, one thread | {timed(both):.0f} ms | compare in 1/5 |")


if __name__ == "__main__":
    database = duckdb.connect()
    database.execute("set threads = 1")
    database.execute("set TimeZone = 'America/Chicago'")
    keys(database, sys.argv[1])
    compare(database)
