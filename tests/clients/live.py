"""Other programs beside SQL over a table whose server runs: live.py STORE TABLE POSTGRES_PORT

Takes one version of TABLE and asks deltalake, DuckDB, Polars and Spark for count, sum, least and
greatest of every field and for the rows of every tag, of times before the table's property
`warpline.deduplicated_until`; SQL must say the same. Then the rollups of the table, read by DuckDB,
must equal SQL's aggregates by bucket. No rows may be on their way.
"""

import datetime
import glob
import json
import os
import sys
import time

import deltalake
import polars
import psycopg
from facts import duckdb_with_delta, microseconds, same
from read_table import Asked, answers, by_deltalake, by_duckdb, by_polars

store, name, port = sys.argv[1:4]
PATIENCE = 30
SPARK = {"byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint"}
TIERS = {"1m": "1 minute", "1h": "1 hour"}


def by_warpline(cursor, asked):
    """SQL has decimals as doubles: up to 15 digits the shortest text of one is the decimal."""
    return answers(asked, lambda text: cursor.execute(text).fetchall(), name, wide=str)


def by_spark(table, asked):
    """Spark has no Delta of its own: it reads the files of the version, in the table's types."""
    spark = spark_session()
    columns = (f"`{f.name}` {SPARK.get(f.type.type, f.type.type)}" for f in fields(table))
    files = spark.read.schema(", ".join(columns)).parquet(*table.file_uris())
    files.createOrReplaceTempView("files")
    ask = lambda text: [tuple(row) for row in spark.sql(text).collect()]
    return answers(asked, ask, "files", quote="`")


def spark_session():
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.session.timeZone", "UTC")
    builder = builder.config("spark.sql.shuffle.partitions", "2")
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    return builder.config("spark.driver.memory", "768m").getOrCreate()


def raw_agrees(cursor):
    folder = os.path.join(store, name)
    table = deltalake.DeltaTable(folder)
    properties = table.metadata().configuration
    until = microseconds(text_micros(properties["warpline.deduplicated_until"]))
    levels = sorted({os.path.basename(uri).split("-")[0] for uri in table.file_uris()})
    assert "day" in levels and "hour" in levels, levels
    roles = (properties[f"warpline.{role}"] for role in ("identity", "attributes"))
    tags = [tag for role in roles for tag in json.loads(role)]
    values = [field.name for field in fields(table) if field.name not in ("time", *tags)]
    asked = Asked(values, tags, until)
    wanted = by_warpline(cursor, asked)
    found = {
        "deltalake": by_deltalake(table, asked),
        "DuckDB": by_duckdb(folder, asked, table.version()),
        "Polars": by_polars(polars.scan_delta(folder, version=table.version()), asked),
        "Spark": by_spark(table, asked),
    }
    for program, answer in found.items():
        for what in wanted:
            same(f"{program}, version {table.version()}, {what}", answer[what], wanted[what])
    print(f"version {table.version()}, files of {levels}, rows before {until}: {wanted['rows']}")
    print(f"{', '.join(found)}: {len(asked.columns)} fields and {len(asked.tags)} tags agree")
    return table


def rollups_agree(cursor, raw):
    source = os.path.join(store, name)
    connection = duckdb_with_delta()
    for suffix, width in TIERS.items():
        folder = os.path.join(store, f"{name}_{suffix}")
        tier, until = caught_up(folder, source)
        kept = {field.name for field in fields(tier)}
        values = [f.name for f in fields(raw) if f"{f.name}_count" in kept]
        # In files older than a field its count is NULL, which is 0.
        total = {"count": "coalesce(sum({}), 0)", "sum": "sum({})", "min": "min({})", "max": "max({})"}
        parts = [part.format(f'"{f}_{fact}"') for f in values for fact, part in total.items()]
        read = f"""SELECT epoch_us(time), node, sum(rows), {', '.join(parts)}
            FROM delta_scan('file://{folder}', version => {tier.version()})
            WHERE epoch_us(time) < {until} GROUP BY ALL ORDER BY 1, 2"""
        found = connection.execute(read).fetchall()
        parts = [f'{fact}("{f}")' for f in values for fact in total]
        bucket = f"date_bin(INTERVAL '{width}', time)"
        ask = f"""SELECT {bucket}, node, count(*), {', '.join(parts)} FROM {name}
            WHERE time < '{microseconds(until).isoformat()}' GROUP BY 1, 2 ORDER BY 1, 2"""
        wanted = [(micros(row[0]), *row[1:]) for row in cursor.execute(ask).fetchall()]
        same(f"{suffix}, buckets", [row[:3] for row in found], [row[:3] for row in wanted])
        for got, want in zip(found, wanted):
            nearest = [float(g) if isinstance(w, float) else g for g, w in zip(got, want)]
            same(f"{suffix}, bucket {want[:2]}", nearest, list(want))
        print(f"{suffix}: {len(found)} buckets of {len(values)} fields agree")
        source = folder


def caught_up(folder, source_folder):
    """A tier and the time before which it has all that is in the files of its source."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        source = deltalake.DeltaTable(source_folder)
        if deltalake.DeltaTable.is_deltatable(folder):
            tier = deltalake.DeltaTable(folder)
            seen = tier.transaction_version(f"rollup:{source.metadata().id}")
            until = tier.transaction_version(f"rollup-until:{source.metadata().id}")
            if until is not None and not behind(source_folder, source, seen, until):
                return tier, until
        time.sleep(0.2)
    sys.exit(f"{folder} is behind its source")


def behind(folder, source, seen, until):
    """Whether files with rows that came after version `seen` have rows before `until`."""
    there = {os.path.basename(uri) for uri in source.file_uris()}
    for entry in glob.glob(f"{folder}/_delta_log/*.json"):
        with open(entry) as lines:
            actions = map(json.loads, lines)
            added = [action["add"] for action in actions if "add" in action]
        for add in added:
            first = json.loads(add["stats"])["minValues"]["time"]
            newer = int(add["tags"]["warpline.version"]) > seen
            if newer and os.path.basename(add["path"]) in there and text_micros(first) < until:
                return True
    return False


def fields(table):
    """The columns that are in the files: the day is in their paths."""
    return [field for field in table.schema().fields if field.name != "date"]


def micros(moment):
    return (moment - microseconds(0)) // datetime.timedelta(microseconds=1)


def text_micros(text):
    return micros(datetime.datetime.fromisoformat(text))


where = f"host=127.0.0.1 port={port} user=warpline dbname=postgres"
with psycopg.connect(where, autocommit=True) as connection:
    cursor = connection.cursor()
    rollups_agree(cursor, raw_agrees(cursor))
