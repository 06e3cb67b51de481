"""psycopg, psql and HTTP against a running server: online.py FACTS URL POSTGRES_PORT"""

import csv
import datetime
import io
import json
import subprocess
import sys
import urllib.error
import urllib.request

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


def with_psql():
    command = ["psql", "-X", "-h", "127.0.0.1", "-p", port, "-U", "warpline", "postgres", "-At"]
    statement = f"SELECT count(*), max(time) FROM {table}"
    said = subprocess.run(command + ["-c", statement], capture_output=True, text=True)
    if said.returncode != 0:
        sys.exit(f"psql: {said.stderr}")
    count, last = said.stdout.strip().split("|")
    same("psql, count", int(count), facts.rows)
    same("psql, time", datetime.datetime.fromisoformat(last).astimezone(UTC), facts.last)
    tables = subprocess.run(command + ["-c", "\\dt"], capture_output=True, text=True).stdout
    assert table in tables, tables
    print("psql: count, time with zone and \\dt agree")


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
with_psql()
with_http()
