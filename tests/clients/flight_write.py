"""Writes with pyarrow.flight: to `gpu`, to a new table, and what is refused; the caller asks for
what came of it.

usage: flight_write.py URL
"""

import json
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.flight as flight

client = flight.connect(sys.argv[1].rstrip("/").replace("http://", "grpc://"))
now = datetime.now(timezone.utc).replace(microsecond=250_000)
seconds = [now - timedelta(seconds=age) for age in range(3)]


def put(table, data, options=None, chunk=None):
    """Writes a table of Arrow, reading the result of each batch; answers with all of them."""
    descriptor = flight.FlightDescriptor.for_path(table)
    writer, results = client.do_put(descriptor, data.schema, options)
    told = []
    for batch in data.to_batches(max_chunksize=chunk):
        writer.write_batch(batch)
        result = results.read()
        if result is None:  # the stream has ended: close() tells why
            break
        told.append(json.loads(result.to_pybytes()))
    writer.close()
    return told


def expect(error, words, call):
    try:
        call()
    except error as refused:
        assert words in str(refused), refused
        return
    raise AssertionError(f"{words!r}: nothing was refused")


# A tick of two GPUs, thrice: text as dictionaries, numbers of several types, a NULL.
gpu = pa.table(
    {
        "time": pa.array([s for s in seconds for _ in range(2)], pa.timestamp("ns", "UTC")),
        "cluster": pa.array(["c1"] * 6).dictionary_encode(),
        "node": pa.array(["n1"] * 6, pa.string_view()),
        "gpu": pa.array([0, 1] * 3, pa.int32()),
        "uuid": pa.array(["GPU-a", "GPU-b"] * 3).dictionary_encode(),
        "power_usage": pa.array([113.611, 68.347, 699.1234, None, 0.5, 70.0]),
        "gpu_temp": pa.array([30, 41] * 3, pa.uint8()),
        "my_score": pa.array([0.5, 1.5] * 3, pa.float32()),
    }
)
assert put("gpu", gpu, chunk=2) == [
    {"rows": 2, "refused_rows": 0, "refused_values": 0, "why": []}
] * 3

# A new table, whose schema says which text identifies its rows; compressed, in a zone of its own.
fields = [
    pa.field("time", pa.timestamp("ms", "Asia/Kolkata")),
    pa.field("rack", pa.string(), metadata={"warpline.role": "identity"}),
    pa.field("pump", pa.int64(), metadata={"warpline.role": "identity"}),
    pa.field("model", pa.large_string(), metadata={"warpline.role": "attribute"}),
    pa.field("flow", pa.decimal128(7, 3)),
    pa.field("running", pa.bool_()),
]
zone = ZoneInfo("Asia/Kolkata")
cooling = pa.table(
    {
        "time": [second.astimezone(zone) for second in seconds],
        "rack": ["r1", "r2", "r2"],
        "pump": [1, 1, 2],
        "model": ["m", "m", None],
        "flow": [Decimal("12.5"), Decimal("13.125"), None],
        "running": [True, False, None],
    },
    schema=pa.schema(fields),
)
for codec in ["lz4", "zstd"]:
    options = flight.FlightCallOptions(write_options=pa.ipc.IpcWriteOptions(compression=codec))
    assert put("cooling", cooling, options)[0]["rows"] == 3

# Ten thousand rows in a hundred batches, whose results nobody reads.
many = pa.table(
    {
        "time": pa.array([now - timedelta(milliseconds=row) for row in range(10_000)]),
        "host": pa.array([f"h{row % 7}" for row in range(10_000)]),
        "load": pa.array(range(10_000)),
    }
)
writer, _ = client.do_put(flight.FlightDescriptor.for_path("many"), many.schema)
writer.write_table(many, max_chunksize=100)
writer.close()

# What is refused is told by batch, and again by the error that the stream ends with.
partly = pa.table(
    {
        "time": pa.array([now, None, now + timedelta(days=1)], pa.timestamp("us", "UTC")),
        "host": ["a", "b", "c"],
        "load": [1.5, 2.5, 3.5],
        "notes": [["a list"]] * 3,
    }
)
writer, results = client.do_put(flight.FlightDescriptor.for_path("partly"), partly.schema)
writer.write_table(partly)
told = json.loads(results.read().to_pybytes())
assert (told["rows"], told["refused_rows"], told["refused_values"]) == (1, 2, 3), told
assert told["why"][0].startswith('column "notes": list is not stored'), told
expect(pa.ArrowInvalid, "partial write: 1 rows are durable", writer.close)



def nameless():
    writer, _ = client.do_put(flight.FlightDescriptor.for_command("a"), one.schema)
    writer.close()


# A stream that names no table, one without a time, one message that is too long.
one = many.slice(0, 1)
expect(pa.ArrowInvalid, "DecodeError", nameless)  # a command that is none of Flight SQL's
expect(pa.ArrowInvalid, 'no column "time"', lambda: put("a", one.drop(["time"])))
long = pa.table({"time": pa.array([now] * (3 << 20)), "v": pa.array(range(3 << 20))})
expect(pa.ArrowException, "16777216 bytes, which is the limit", lambda: put("a", long))
assert "CreatePreparedStatement" in [action.type for action in client.list_actions()]
expect(pa.ArrowNotImplementedError, "do_get", lambda: client.do_get(flight.Ticket(b"")))
print("written")
