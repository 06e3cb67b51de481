"""Reads a table's Delta log and files with other programs and says whether they agree.

    pip install deltalake duckdb duckdb-extension-delta polars pytz
    python tests/clients/read_table.py STORE/TABLE [EXPECTED.json]

STORE/TABLE is a table's folder; the server may be off. Every column of integers or decimals is
counted, summed and bounded, exactly, by DuckDB, Polars and delta-rs. EXPECTED.json, where given,
holds Warpline's own answers: {"rows": n, "COLUMN": {"count": n, "sum": "text", "min": ..,
"max": ..}}; its columns are the ones compared. Prints a line per column; exits 1 on a difference.
"""

import dataclasses
import decimal
import json
import pathlib
import sys

import deltalake
import polars
from facts import duckdb_with_delta

EXACT = decimal.Context(prec=60)
FACTS = ("count", "sum", "min", "max")
# Wide enough that no sum of a table's decimals is rounded.
WIDE = (38, 6)


@dataclasses.dataclass
class Asked:
    """Facts of these columns and rows by value of these tags, of times before `until`."""

    columns: list
    tags: tuple = ()
    until: object = None

    def where(self):
        return f"WHERE time < '{self.until.isoformat()}'" if self.until else ""


def exact(value):
    """A number as text, the same for 3 and 3.000; a double is what its shortest text says."""
    if value is None:
        return None
    value = repr(value) if isinstance(value, float) else value
    return format(EXACT.create_decimal(value).normalize(EXACT), "f")


def laid_out(rows, columns, values):
    """{"rows": n, column: {count, sum, min, max}} from four values per column."""
    found = {"rows": rows}
    for index, column in enumerate(columns):
        count, *others = values[4 * index : 4 * index + 4]
        found[column] = {"count": count} | dict(zip(FACTS[1:], map(exact, others)))
    return found


def widened(column):
    return f"CAST({column} AS DECIMAL{WIDE})"


def answers(asked, ask, source, quote='"', wide=widened):
    """What a program that speaks SQL says; `ask` gives the rows of a statement."""
    named = [f"{quote}{column}{quote}" for column in asked.columns]
    parts = [f"count({c}), sum({wide(c)}), min({c}), max({c})" for c in named]
    ((rows, *values),) = ask(f"SELECT {', '.join(['count(*)', *parts])} FROM {source} {asked.where()}")
    found = laid_out(rows, asked.columns, values)
    for tag in asked.tags:
        name = f"{quote}{tag}{quote}"
        counted = f"SELECT {name}, count(*) FROM {source} {asked.where()} GROUP BY {name}"
        found[f"tag {tag}"] = dict(ask(counted))
    return found


def by_duckdb(folder, asked, version):
    connection = duckdb_with_delta()
    ask = lambda text: connection.execute(text).fetchall()
    return answers(asked, ask, f"delta_scan('file://{folder}', version => {version})")


def by_polars(frame, asked):
    if asked.until:
        frame = frame.filter(polars.col("time") < asked.until)
    parts = [polars.len()]
    for name in asked.columns:
        column = polars.col(name)
        parts += [
            column.count().alias(f"{name} count"),
            column.cast(polars.Decimal(*WIDE)).sum().alias(f"{name} sum"),
            column.min().alias(f"{name} min"),
            column.max().alias(f"{name} max"),
        ]
    rows, *values = frame.select(parts).collect().row(0)
    found = laid_out(rows, asked.columns, values)
    for tag in asked.tags:
        counted = frame.group_by(tag).len().collect()
        found[f"tag {tag}"] = dict(counted.rows())
    return found


def by_deltalake(table, asked):
    builder = deltalake.QueryBuilder().register("t", table)
    ask = lambda text: polars.DataFrame(builder.execute(text).read_all()).rows()
    return answers(asked, ask, "t")


def numbers(table):
    """The columns whose sums are exact."""
    kinds = ("byte", "short", "integer", "long", "decimal")
    fields = table.schema().fields
    return [field.name for field in fields if str(field.type.type).startswith(kinds)]


def main(folder, expected=None):
    folder = pathlib.Path(folder).resolve()
    table = deltalake.DeltaTable(folder.as_uri())
    asked = Asked([c for c in expected if c != "rows"] if expected else numbers(table))
    found = {
        "duckdb": by_duckdb(folder, asked, table.version()),
        "polars": by_polars(polars.scan_delta(str(folder)), asked),
        "deltalake": by_deltalake(table, asked),
    }
    if expected:
        values = [expected[column][fact] for column in asked.columns for fact in FACTS]
        found["warpline"] = laid_out(expected["rows"], asked.columns, values)
    return sum(differs(column, found) for column in ["rows", *asked.columns])


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
