"""The kernel's reduction by another engine: bucket by time; count, min, max and sum of a column.

    python kernel_peers.py ENGINE MANIFEST

The manifest is JSON, as `warpline-bench kernel` writes it: a number of rows and of rounds, and
cases, each naming files of raw little-endian times (microseconds) and values, maybe a bitmap, and
the width of a bucket in seconds. Each case is run by one thread over data in memory, in every way
listed for the engine, some rounds each; the answer's checksum and the seconds of the best round
of the best way are printed as a JSON list, one entry a case.
"""

import json
import os
import sys
import time

os.environ["POLARS_MAX_THREADS"] = "1"
os.environ["RAYON_NUM_THREADS"] = "1"

import pyarrow as pa
import pyarrow.compute as pc

TYPES = {"i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(), "f64": pa.float64()}
AGGREGATES = "count(v) AS c, min(v) AS lo, max(v) AS hi, sum(v) AS s"


def read(path):
    with open(path, "rb") as file:
        return pa.py_buffer(file.read())


def load(case, rows):
    """Times and values of a case as an Arrow table."""
    times = pa.Array.from_buffers(pa.timestamp("us"), rows, [None, read(case["times"])])
    bitmap = read(case["bitmap"]) if case["bitmap"] else None
    values = pa.Array.from_buffers(TYPES[case["type"]], rows, [bitmap, read(case["values"])])
    return pa.table({"t": times, "v": values})


def datafusion(table, width):
    from datafusion import SessionConfig, SessionContext

    context = SessionContext(SessionConfig().with_target_partitions(1))
    context.register_record_batches("t", [table.to_batches(max_chunksize=8192)])
    bucket = f"date_bin(INTERVAL '{width} seconds', t)"
    query = f"SELECT {bucket} AS b, {AGGREGATES} FROM t GROUP BY 1"
    collect = lambda: context.sql(query).collect()
    return {"date_bin": (collect, lambda: pa.Table.from_batches(collect()))}


def duckdb(table, width):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads=1")
    connection.register("arrow", table)
    connection.execute("CREATE TABLE own AS SELECT * FROM arrow")
    ways = {}
    for source in ["own", "arrow"]:
        for name, bucket in [
            ("time_bucket", f"time_bucket(INTERVAL '{width} seconds', t)"),
            ("integers", f"epoch_us(t) // {width * 1_000_000}"),
        ]:
            query = f"SELECT {bucket} AS b, {AGGREGATES} FROM {source} GROUP BY 1"
            ways[f"{name}, {source} table"] = (
                lambda query=query: connection.execute(query),
                lambda query=query: connection.sql(query).to_arrow_table(),
            )
    return ways


def clickhouse(table, width):
    import tempfile

    from chdb.session import Session

    session = Session()
    session.query("SET max_threads=1")
    value = {"i16": "Int16", "i32": "Int32", "i64": "Int64", "f64": "Float64"}
    name = next(name for name, of in TYPES.items() if of == table.schema.field("v").type)
    value = f"Nullable({value[name]})" if table["v"].null_count else value[name]
    session.query("CREATE DATABASE IF NOT EXISTS d ENGINE=Atomic")
    session.query("DROP TABLE IF EXISTS d.t SYNC")
    session.query(f"CREATE TABLE d.t (t DateTime64(6, 'UTC'), v {value}) ENGINE=Memory")
    with tempfile.NamedTemporaryFile(suffix=".arrow") as file:
        with pa.ipc.new_file(file.name, table.schema) as writer:
            writer.write_table(table, max_chunksize=1 << 16)
        session.query(f"INSERT INTO d.t SELECT * FROM file('{file.name}', 'Arrow')")
    ways = {}
    for way, bucket in [
        ("toStartOfInterval", f"toStartOfInterval(t, INTERVAL {width} SECOND)"),
        ("integers", f"intDiv(toUnixTimestamp64Micro(t), {width * 1_000_000})"),
    ]:
        query = f"SELECT {bucket} AS b, {AGGREGATES} FROM d.t GROUP BY b SETTINGS max_threads=1"
        ways[way] = (
            lambda query=query: session.query(query, "Null"),
            lambda query=query: arrow_of(session.query(query, "Arrow")),
        )
    return ways


def arrow_of(result):
    return pa.ipc.open_file(pa.py_buffer(result.bytes())).read_all()


def polars(table, width):
    import polars as pl

    frame = pl.from_arrow(table).with_columns(pl.col("t").set_sorted())
    value = pl.col("v")
    aggregates = [
        value.count().alias("c"),
        value.min().alias("lo"),
        value.max().alias("hi"),
        value.sum().alias("s"),
    ]
    dynamic = frame.lazy().group_by_dynamic("t", every=f"{width}s").agg(aggregates)
    bucket = pl.col("t").dt.truncate(f"{width}s").alias("b")
    truncated = frame.lazy().group_by(bucket).agg(aggregates)
    return {
        name: (query.collect, lambda query=query: query.collect().to_arrow())
        for name, query in [("group_by_dynamic", dynamic), ("truncate", truncated)]
    }


def checksum(answer):
    """Buckets, values, and the sums of their mins, maxs and sums, as text."""

    def total(name):
        column = answer[name]
        floats = pa.types.is_floating(column.type)
        return str(pc.sum(column.cast(pa.float64() if floats else pa.int64())).as_py())

    return [str(answer.num_rows), *(total(name) for name in ["c", "lo", "hi", "s"])]


def best(run, rounds):
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def main():
    engine, manifest = sys.argv[1:]
    ways_of = {f.__name__: f for f in [datafusion, duckdb, clickhouse, polars]}[engine]
    with open(manifest) as file:
        manifest = json.load(file)
    results = []
    for case in manifest["cases"]:
        ways = ways_of(load(case, manifest["rows"]), case["width"])
        answers = [checksum(answer()) for _, answer in ways.values()]
        times = [(best(run, manifest["rounds"]), way) for way, (run, _) in ways.items()]
        seconds, way = min(times)
        results.append({"seconds": seconds, "way": way, "checksums": answers})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
