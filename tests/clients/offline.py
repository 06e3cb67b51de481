"""DuckDB, Polars and deltalake over a Delta table whose server is off: offline.py FACTS STORE"""

import os
import sys
from datetime import timezone

import deltalake
import polars
import pyarrow.compute as pc

from facts import UTC, Facts, duckdb_with_delta, same, same_numbers

facts = Facts(sys.argv[1])
path = os.path.join(sys.argv[2], facts.table)


def with_duckdb():
    connection = duckdb_with_delta()
    source = f"delta_scan('file://{path}')"
    counted = connection.execute(f"SELECT count(*), min(time), max(time) FROM {source}").fetchone()
    same("DuckDB", counted[0], facts.rows)
    same("DuckDB, times", [t.astimezone(UTC) for t in counted[1:]], [facts.first, facts.last])
    for field in facts.fields:
        name = field["name"]
        # As HUGEINT and DECIMAL, DuckDB's sums are exact.
        asked = f"SELECT count({name}), min({name}), max({name}), sum({name}) FROM {source}"
        got = connection.execute(asked).fetchone()
        same_numbers(f"DuckDB, {name}", got, facts.wanted(field))
    print(f"DuckDB: {facts.rows} rows, {len(facts.fields)} fields agree exactly")


def with_polars():
    frame = polars.scan_delta(path).collect()
    same("Polars", frame.height, facts.rows)
    times = [frame["time"].min(), frame["time"].max()]
    same("Polars, times", [t.astimezone(timezone.utc) for t in times], [facts.first, facts.last])
    for field in facts.fields:
        column = frame[field["name"]]
        if column.dtype.is_integer():
            column = column.cast(polars.Int128)
        got = (column.count(), column.min(), column.max(), column.sum())
        same_numbers(f"Polars, {field['name']}", got, facts.wanted(field))
    print(f"Polars: {facts.rows} rows, {len(facts.fields)} fields agree exactly")


def with_deltalake():
    table = deltalake.DeltaTable(path)
    rows = table.to_pyarrow_table()
    same("deltalake", rows.num_rows, facts.rows)
    for field in facts.fields:
        column = rows[field["name"]]
        got = (pc.count(column).as_py(), pc.min(column).as_py(), pc.max(column).as_py())
        same_numbers(f"deltalake, {field['name']}", got, facts.wanted(field)[:3])
    print(f"deltalake: version {table.version()}, {facts.rows} rows agree")


with_duckdb()
with_polars()
with_deltalake()
