"""Reads a table's Delta log and files with other programs and says whether they agree.

    pip install deltalake duckdb duckdb-extension-delta polars pytz
    python tests/clients/read_table.py STORE/TABLE [EXPECTED.json]

STORE/TABLE is a table's folder; the server may be off. Every column of integers or decimals is
counted, summed and bounded, exactly, by DuckDB, Polars and delta-rs. EXPECTED.json, where given,
holds Warpline's own answers: {"rows": n, "COLUMN": {"count": n, "sum": "text", "min": ..,
"max": ..}}; its columns are the ones compared. Prints a line per column; exits 1 on a difference.
"""

import decimal
import json
import pathlib
import sys

import deltalake
import duckdb
import duckdb_extension_delta
import polars

EXACT = decimal.Context(prec=60)


def exact(value):
    """An integer or decimal as text, the same for 3 and 3.000."""
    if value is None:
        return None
    return format(EXACT.create_decimal(value).normalize(EXACT), "f")


def answers(rows, columns, values):
    """{"rows": n, column: {count, sum, min, max}} from four values per column."""
    found = {"rows": rows}
    for index, column in enumerate(columns):
        count, *others = values[4 * index : 4 * index + 4]
        found[column] = {"count": count} | dict(zip(("sum", "min", "max"), map(exact, others)))
    return found


def by_duckdb(folder, columns):
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    package = pathlib.Path(duckdb_extension_delta.__file__).parent
    extension = next(package.glob("extensions/**/delta.duckdb_extension"))
    connection.execute(f"LOAD '{extension}'")
    parts = ", ".join(
        f'count("{c}"), sum("{c}"::DECIMAL(38, 6)), min("{c}"), max("{c}")' for c in columns
    )
    query = f"SELECT count(*), {parts} FROM delta_scan('file://{folder}')"
    rows, *values = connection.execute(query).fetchone()
    return answers(rows, columns, values)


def by_polars(frame, columns):
    wide = polars.Decimal(38, 6)
    parts = [polars.len()]
    for name in columns:
        column = polars.col(name)
        parts += [
            column.count().alias(f"{name} count"),
            column.cast(wide).sum().alias(f"{name} sum"),
            column.min().alias(f"{name} min"),
            column.max().alias(f"{name} max"),
        ]
    rows, *values = frame.select(parts).collect().row(0)
    return answers(rows, columns, values)


def by_deltalake(table, columns):
    builder = deltalake.QueryBuilder().register("t", table)
    parts = ", ".join(
        f'count("{c}"), sum(CAST("{c}" AS DECIMAL(38, 6))), min("{c}"), max("{c}")' for c in columns
    )
    batch = polars.DataFrame(builder.execute(f"SELECT count(*), {parts} FROM t").read_all())
    rows, *values = batch.row(0)
    return answers(rows, columns, values)


def numbers(table):
    """The columns whose sums are exact."""
    kinds = ("byte", "short", "integer", "long", "decimal")
    fields = table.schema().fields
    return [field.name for field in fields if str(field.type.type).startswith(kinds)]


def main(folder, expected=None):
    folder = pathlib.Path(folder).resolve()
    table = deltalake.DeltaTable(folder.as_uri())
    columns = [c for c in expected if c != "rows"] if expected else numbers(table)
    found = {
        "duckdb": by_duckdb(folder, columns),
        "polars": by_polars(polars.scan_delta(str(folder)), columns),
        "deltalake": by_deltalake(table, columns),
    }
    if expected:
        values = [expected[c][fact] for c in columns for fact in ("count", "sum", "min", "max")]
        found["warpline"] = answers(expected["rows"], columns, values)
    return sum(differs(column, found) for column in ["rows", *columns])


def differs(column, found):
    """Prints what the programs say of a column; True where they do not agree."""
    said = {program: json.dumps(answer[column]) for program, answer in found.items()}
    if len(set(said.values())) == 1:
        print(f"{column}: {said.popitem()[1]}")
        return False
    print(f"{column}: DIFFERENT")
    for program, answer in said.items():
        print(f"    {program}: {answer}")
    return True


if __name__ == "__main__":
    expected = json.loads(pathlib.Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else None
    sys.exit(1 if main(sys.argv[1], expected) else 0)
