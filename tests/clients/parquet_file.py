"""A Parquet file with every type an import takes: parquet_file.py write FILE | check FILE PORT"""

import datetime
import decimal
import sys

import psycopg
import pyarrow
import pyarrow.parquet

from facts import UTC, same

ROWS = 20_000
START = datetime.datetime(2024, 6, 1, 12, tzinfo=UTC)


def write(path):
    number = range(ROWS)
    decimals = [None if n % 7 == 0 else decimal.Decimal(n).scaleb(-3) for n in number]
    columns = {
        "at": pyarrow.array(
            [START + datetime.timedelta(seconds=n) for n in number],
            pyarrow.timestamp("ms", "UTC"),
        ),
        "node": pyarrow.array([f"n{n % 11}" for n in number]).dictionary_encode(),
        "errors": pyarrow.array([n % 100 for n in number], pyarrow.int8()),
        "bytes": pyarrow.array([n * 10**12 for n in number], pyarrow.int64()),
        "ratio": pyarrow.array([n / 3 for n in number], pyarrow.float64()),
        "watts": pyarrow.array(decimals, pyarrow.decimal128(9, 3)),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def check(path, port):
    rows = pyarrow.parquet.read_table(path).to_pylist()
    where = f"host=127.0.0.1 port={port} user=warpline dbname=postgres"
    with psycopg.connect(where, autocommit=True) as connection:
        cursor = connection.cursor(binary=True)
        cursor.execute("SELECT time, node, errors, bytes, ratio, watts FROM made ORDER BY time")
        for got, row in zip(cursor, rows, strict=True):
            row["watts"] = None if row["watts"] is None else float(row["watts"])
            same("a row", got, tuple(row.values()))
    print(f"{len(rows)} rows come back as they were")


if sys.argv[1] == "write":
    write(sys.argv[2])
else:
    check(sys.argv[2], sys.argv[3])
