"""A trace that was imported against the trace itself: imported.py CSV TABLE IDENTITY POSTGRES_PORT"""

import datetime
import math
import sys

import duckdb
import psycopg

from facts import UTC, same

path, table, identity, port = sys.argv[1:]
key = f"{identity}, time_ms"
trace = duckdb.connect()
trace.execute("SET TimeZone = 'UTC'")
# A later row of a key wins, as in the table; which columns are numbers is DuckDB's own finding.
trace.execute(
    f"""CREATE TABLE trace AS SELECT * EXCLUDE (line), make_timestamptz(time_ms * 1000) AS moment
    FROM (SELECT *, row_number() OVER () AS line FROM read_csv('{path}'))
    QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY line DESC) = 1"""
)
tags = identity.split(",")
columns = trace.execute("DESCRIBE trace").fetchall()
numbers = [
    (name, kind)
    for name, kind, *_ in columns
    if kind in ("BIGINT", "DOUBLE") and name not in ("time_ms", *tags)
]
assert numbers, columns

where = f"host=127.0.0.1 port={port} user=warpline dbname=postgres"
server = psycopg.connect(where, autocommit=True)


def close(got, wanted):
    """Equal, or doubles that differ by the order of their summing."""
    if isinstance(got, float) and isinstance(wanted, float):
        return math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-9)
    return got == wanted


def compare(what, ours, theirs):
    ours, theirs = server.execute(ours).fetchall(), trace.execute(theirs).fetchall()
    same(f"{what}, rows", len(ours), len(theirs))
    for got, wanted in zip(ours, theirs):
        got = [v.astimezone(UTC) if isinstance(v, datetime.datetime) else v for v in got]
        wanted = [v.astimezone(UTC) if isinstance(v, datetime.datetime) else v for v in wanted]
        if not all(close(float(g) if isinstance(w, float) else g, w) for g, w in zip(got, wanted)):
            sys.exit(f"{what}: got {got}, wanted {wanted}")


times = "count(*), count(DISTINCT {t}), min({t}), max({t})"
compare(
    "times",
    f"SELECT {times.format(t='time')} FROM {table}",
    f"SELECT {times.format(t='moment')} FROM trace",
)
tag_texts = ", ".join(f"CAST({tag} AS VARCHAR)" for tag in tags)
for name, kind in numbers:
    total = f"CAST(sum({name}) AS {kind})"
    facts = f"count({name}), min({name}), max({name}), {total}, avg({name})"
    compare(name, f"SELECT {facts} FROM {table}", f"SELECT {facts} FROM trace")
    grouped = f"count({name}), max({name}), avg({name})"
    compare(
        f"{name} by {identity}",
        f"SELECT {', '.join(tags)}, {grouped} FROM {table} GROUP BY {identity} ORDER BY {identity}",
        f"SELECT {tag_texts}, {grouped} FROM trace GROUP BY ALL ORDER BY {tag_texts}",
    )
print(f"{table}: {trace.execute('SELECT count(*) FROM trace').fetchone()[0]} rows, {len(numbers)} fields agree")
