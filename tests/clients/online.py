"""psycopg, asyncpg, psql and HTTP against a running server: online.py FACTS URL POSTGRES_PORT"""

import asyncio
import csv
import datetime
import io
import json
import subprocess
import sys
import urllib.error
import urllib.request

import asyncpg
import psycopg
import pyarrow.ipc

from facts import UTC, Facts, same, same_numbers

facts = Facts(sys.argv[1])
url, port = sys.argv[2], sys.argv[3]
table = facts.table


def aggregates(field, with_sum=True):
    name = field["name"]
    total = f", sum({name})" if with_sum else ""
    return f"SELECT count({name}), min({name}), max({name}){total} FROM {table}"


def in_bigint(number):
    return -(2**63) <= number < 2**63


def refuse(cursor, statement, reason):
    """The statement is an error that says why, and the session goes on."""
    try:
        cursor.execute(statement)
    except psycopg.Error as error:
        assert reason in str(error), error
        return
    sys.exit(f"{statement} was answered")


def post(statement, accept):
    """An answer's body, as curl would have it."""
    command = ["curl", "-sS", "--fail-with-body", f"{url}sql", "-H", f"Accept: {accept}"]
    return subprocess.run(command + ["-d", statement], capture_output=True, check=True).stdout


def with_psycopg(binary):
    kind = f"psycopg, {'binary' if binary else 'text'}"
    where = f"host=127.0.0.1 port={port} user=warpline dbname=postgres"
    with psycopg.connect(where, autocommit=True) as connection:
        cursor = connection.cursor(binary=binary)
        cursor.execute(f"SELECT count(*), min(time), max(time) FROM {table}")
        same(kind, cursor.fetchone(), (facts.rows, facts.first, facts.last))
        assert cursor.execute(f"SELECT max(time) FROM {table}").fetchone()[0].tzinfo is not None
        for field in facts.fields:
            wanted = facts.wanted(field)
            if field["decimals"] == 0 and not in_bigint(wanted[3]):
                refuse(cursor, aggregates(field), "out of range")
                wanted = wanted[:3]
            cursor.execute(aggregates(field, with_sum=len(wanted) == 4))
            same_numbers(f"{kind}, {field['name']}", cursor.fetchone(), wanted)
        middle = facts.first + (facts.last - facts.first) / 2
        halves = []
        for operator in ("<", ">="):
            cursor.execute(f"SELECT count(*) FROM {table} WHERE time {operator} %s", (middle,))
            halves.append(cursor.fetchone()[0])
        same(f"{kind}, time parameter", sum(halves), facts.rows)
        assert 0 < halves[0] < facts.rows
        # The same instant written in another zone is the same instant.
        elsewhere = middle.astimezone(datetime.timezone(datetime.timedelta(hours=9)))
        cursor.execute(f"SELECT count(*) FROM {table} WHERE time < %s", (elsewhere,))
        same(f"{kind}, zone", cursor.fetchone()[0], halves[0])
        cursor.execute(f"SELECT count(*) FROM {table} WHERE gpu = %s", ("0",))
        assert 0 < cursor.fetchone()[0] < facts.rows
        refuse(cursor, f"SELECT no_such_column FROM {table}", "no_such_column")
        same(f"{kind}, after an error", cursor.execute("SELECT 1").fetchone(), (1,))
    print(f"{kind}: {facts.rows} rows, {len(facts.fields)} fields agree")


def with_cursors_and_copy():
    where = f"host=127.0.0.1 port={port} user=warpline dbname=postgres"
    with psycopg.connect(where) as connection:
        for binary in (False, True):
            with connection.cursor(name="some at a time", binary=binary) as cursor:
                cursor.itersize = 1000
                cursor.execute(f"SELECT time, gpu FROM {table} WHERE gpu <> %s", ("none",))
                same("psycopg, server-side cursor", sum(1 for _ in cursor), facts.rows)
        with connection.cursor() as cursor:
            counted = f"COPY (SELECT count(*), min(time) FROM {table} WHERE gpu <> %s) TO STDOUT"
            with cursor.copy(f"{counted} (FORMAT BINARY)", ("none",)) as copy:
                copy.set_types(["int8", "timestamptz"])
                same("psycopg, binary copy", list(copy.rows()), [(facts.rows, facts.first)])
            with cursor.copy(f"COPY {table} (time, gpu) TO STDOUT") as copy:
                same("psycopg, copy", sum(1 for _ in copy.rows()), facts.rows)
            cursor.execute("SET timezone = 'Asia/Tokyo'")
            assert connection.info.timezone.key == "Asia/Tokyo"
            shown = cursor.execute(f"SELECT min(time) FROM {table}").fetchone()[0]
            same("psycopg, zone", (shown, shown.utcoffset()), (facts.first, datetime.timedelta(hours=9)))
    print("psycopg: server-side cursors, copies and zones agree")


async def with_asyncpg():
    where = {"host": "127.0.0.1", "port": int(port), "user": "warpline", "database": "postgres"}
    connection = await asyncpg.connect(**where)
    counted = f"SELECT count(*), min(time) FROM {table} WHERE gpu <> $1"
    same("asyncpg", tuple(await connection.fetchrow(counted, "none")), (facts.rows, facts.first))
    async with connection.transaction():
        rows = connection.cursor(f"SELECT time FROM {table}", prefetch=1000)
        same("asyncpg, portal", len([row async for row in rows]), facts.rows)
    await connection.reset()
    await connection.close()
    print("asyncpg: parameters, portals and reset agree")


def with_psql():
    command = ["psql", "-X", "-h", "127.0.0.1", "-p", port, "-U", "warpline", "postgres", "-At"]
    statement = f"SELECT count(*), max(time) FROM {table}"
    said = subprocess.run(command + ["-c", statement], capture_output=True, text=True)
    if said.returncode != 0:
        sys.exit(f"psql: {said.stderr}")
    count, last = said.stdout.strip().split("|")
    same("psql, count", int(count), facts.rows)
    same("psql, time", datetime.datetime.fromisoformat(last).astimezone(UTC), facts.last)
    for shown in ("\\d", "\\dt", f"\\d {table}", "\\df", "\\dn", "\\l", "\\dv latest.*"):
        said = subprocess.run(command + ["-c", shown], capture_output=True, text=True)
        assert said.returncode == 0 and not said.stderr, f"{shown}: {said.stderr}"
        if shown in ("\\d", "\\dt"):
            assert said.stdout.startswith(f"public|{table}|table"), said.stdout
    print("psql: count, time with zone, \\d, \\dt, \\df, \\dn, \\l and \\dv agree")


def with_http():
    field = next(field for field in facts.fields if field["decimals"] > 0)
    statement = aggregates(field)
    rows = json.loads(post(statement, "application/json"))
    rows = rows["rows"] if isinstance(rows, dict) else rows
    values = list(rows[0].values()) if isinstance(rows[0], dict) else rows[0]
    same_numbers("JSON", [float(value) for value in values], facts.wanted(field))
    lines = list(csv.reader(io.StringIO(post(statement, "text/csv").decode())))
    same_numbers("CSV", [float(value) for value in lines[1]], facts.wanted(field))
    stream = pyarrow.ipc.open_stream(post(statement, "application/vnd.apache.arrow.stream"))
    values = [column[0].as_py() for column in stream.read_all().columns]
    same_numbers("Arrow", values, facts.wanted(field))
    stream = pyarrow.ipc.open_stream(
        post(f"SELECT min(time) AS t FROM {table}", "application/vnd.apache.arrow.stream")
    )
    same("Arrow, time", stream.read_all()["t"][0].as_py().astimezone(UTC), facts.first)
    request = urllib.request.Request(f"{url}sql", data=b"SELECT no_such_column FROM " + table.encode())
    try:
        urllib.request.urlopen(request)
        sys.exit("HTTP: a column that does not exist was answered")
    except urllib.error.HTTPError as error:
        same("HTTP, status", error.code, 400)
        assert "no_such_column" in error.read().decode()
    print("HTTP: JSON, CSV and Arrow agree")


with_psycopg(binary=False)
with_psycopg(binary=True)
with_cursors_and_copy()
asyncio.run(with_asyncpg())
with_psql()
with_http()
