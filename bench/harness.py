"""What the harness of the peers knows and Warpline's measurements need: its data, its reference answers.

`warpline-bench queries` runs this with the harness's own Python, as `python -c SCRIPT HARNESS COMMAND ...`;
every command prints one line of JSON.

    convert SIZE FOLDER             the harness's data as Parquet that `warpline import` reads
    evict FOLDER...                 drop files from the page cache
    rollup ADDRESS SQL FILE RUNS    ask over HTTP, write the answer as Parquet, as often as asked
    check SIZE FOLDER               compare answers (Q1.arrow, Q12-parquet.parquet, ...) with the reference
"""

import glob
import http.client
import json
import os
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HARNESS = sys.argv[1]
sys.path.insert(0, HARNESS)
sys.dont_write_bytecode = True

import gen  # noqa: E402
import queries  # noqa: E402
import run  # noqa: E402
import systems  # noqa: E402

# Decimals of the doubles, as the harness's generator rounds them.
DECIMALS = {
    "power": pa.decimal128(9, 3), "power_limit": pa.decimal128(9, 3),
    "fp32_active": pa.decimal128(5, 4), "fp16_active": pa.decimal128(5, 4),
    "gr_engine_active": pa.decimal128(4, 3),
}
RATIO = pa.decimal128(7, 6)
# The harness numbers its buckets; Warpline names the instant at which they start.
BUCKET_MS = {"Q5": 300_000, "Q8": 300_000, "Q9": 1, "Q10": 600_000}
TOLERANCE = 1e-6


def convert(size, folder):
    source = f"{systems.ROOT}/data/{size}"
    for path in sorted(glob.glob(source + "/blocks/*.arrow")):
        block = pa.ipc.open_file(path).read_all()
        block = block.select(["ts", *gen.KINDS, *gen.METRICS])
        name = os.path.basename(path).removesuffix(".arrow")
        pq.write_table(scaled(block), f"{folder}/{name}.parquet", compression="zstd")
    meta = json.load(open(source + "/meta.json"))
    return {"gpus": meta["gpus"], "tick_seconds": meta["dt"], "rows": meta["rows"],
            "samples": meta["samples"], "metrics": list(gen.METRICS), "ten": queries.TEN,
            "node": queries.NODE, "gpu": queries.GPU, "titles": queries.TITLES}


def scaled(block):
    """The doubles as the decimals that they are."""
    for at, (name, kind) in enumerate(zip(block.column_names, block.schema.types)):
        if pa.types.is_floating(kind):
            decimal = DECIMALS.get(name, RATIO)
            block = block.set_column(at, name, as_decimal(name, block[name].to_numpy(), decimal))
    return block


def as_decimal(name, doubles, decimal):
    scale = 10 ** decimal.scale
    whole = np.rint(doubles * scale).astype(np.int64)
    if not (whole / scale == doubles).all():
        raise SystemExit(f"{name} has more decimals than {decimal} holds")
    words = np.ascontiguousarray(np.stack([whole, whole >> 63], axis=1))
    return pa.Decimal128Array.from_buffers(decimal, len(whole), [None, pa.py_buffer(words)])


def evict(*folders):
    systems.drop_cache(*folders)
    return {}


def rollup(address, sql, file, runs):
    seconds, cpu = [], []
    for _ in range(int(runs)):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        link = http.client.HTTPConnection(address, timeout=600)
        link.request("POST", "/sql", sql, {"Accept": "application/vnd.apache.arrow.stream"})
        answer = link.getresponse()
        if answer.status != 200:
            raise SystemExit(answer.read().decode())
        table = pa.ipc.open_stream(answer).read_all()
        pq.write_table(table, file, compression="zstd", compression_level=1)
        link.close()
        seconds.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - begun_cpu)
    return {"seconds": seconds, "client_cpu": cpu}


def check(size, folder):
    reference = systems.ALL["duckdb-parquet"](size)
    reference.open()
    verdicts, known = {}, {}
    for path in sorted(glob.glob(folder + "/Q*")):
        form, _ = os.path.splitext(os.path.basename(path))
        query = form.split("-")[0]
        if query not in known:
            known[query] = reference.run(query)
        try:
            verdicts[form] = verdict(query, reference, known[query], path)
        except Exception as error:  # an answer of another shape is wrong, and says so
            verdicts[form] = {"ok": False, "rows": 0, "note": f"{type(error).__name__}: {error}"}
    return verdicts


def verdict(query, reference, known, path):
    parquet = path.endswith(".parquet")
    table = pq.read_table(path) if parquet else pa.ipc.open_stream(path).read_all()
    known = pq.read_table(reference.out) if query == "Q12" else known
    absent = sum(column.null_count for column in table.columns)
    if table.shape != known.shape or absent:
        ok, note = False, f"rows and columns are {table.shape}, not {known.shape}; {absent} NULLs"
    elif query == "Q12":
        ok, note = rollups_agree(known, table)
    else:
        asked, told = systems.table_rows(known), systems.table_rows(numbered(query, table))
        ok, note = run.compare(query, normal(query, asked), normal(query, told), False)
    return {"ok": bool(ok), "rows": table.num_rows, "note": note}


def normal(query, rows):
    """Keys as text and values as numbers, as the harness compares them; of Q6 the maxima alone."""
    keys = queries.NKEY[query]
    last = 1 if query == "Q6" else None
    return [tuple(map(str, row[:keys])) + tuple(map(float, row[keys:][:last])) for row in rows]


def numbered(query, table):
    """Instants as the harness's bucket numbers."""
    for at, (name, kind) in enumerate(zip(table.column_names, table.schema.types)):
        if pa.types.is_timestamp(kind):
            width = BUCKET_MS.get(query, 60_000)
            times = table[name].cast(pa.timestamp("ms", tz=kind.tz)).cast(pa.int64())
            buckets = pa.array(times.to_numpy() // width)
            table = table.set_column(at, name, buckets)
    return table


def rollups_agree(known, table):
    """All 144 columns of every key, which the harness itself checks through sums."""
    import duckdb

    ours = numbered("Q12", table)
    values = [f"{m}_{of}" for m in gen.METRICS for of in ("min", "max", "avg")]
    apart = ", ".join(
        f"coalesce(abs(a.{v}::double - b.{v}::double) / greatest(abs(a.{v}::double), 1e-3), 'inf')"
        for v in values
    )
    missing, worst = duckdb.execute(
        f"select count(*) filter (a.node is null or b.node is null), max(greatest({apart})) "
        f"filter (a.node is not null and b.node is not null) "
        "from known a full join ours b "
        "on a.node = b.node::varchar and a.gpu::varchar = b.gpu::varchar and a.b = b.b"
    ).fetchone()
    ok = missing == 0 and worst is not None and worst <= TOLERANCE
    return ok, "" if ok else f"max rel diff {worst}, {missing} keys differ"


if __name__ == "__main__":
    commands = {"convert": convert, "evict": evict, "rollup": rollup, "check": check}
    print(json.dumps(commands[sys.argv[2]](*sys.argv[3:])))
