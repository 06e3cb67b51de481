"""Writes with InfluxDB's own client; the caller asks for what came of it.

usage: influx_write.py URL
"""

import sys
from datetime import datetime, timezone

from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS, WriteOptions
from influxdb_client.rest import ApiException

url = sys.argv[1].rstrip("/")
now = datetime.now(timezone.utc)

with InfluxDBClient(url=url, token="none", org="org") as client:
    assert client.ping(), "ping"
    health = client.health()
    assert health.status == "pass", health

    writes = client.write_api(write_options=SYNCHRONOUS)
    for number, host in enumerate(["host a", "host,b"]):
        point = (
            Point("disk")
            .tag("host", host)
            .tag("path", "/")
            .field("used", 1.5 + number)
            .field("free", 7 + number)
            .field("ok", number == 0)
            .time(now, WritePrecision.MS)
        )
        writes.write("bucket", record=point, write_precision=WritePrecision.MS)

    # What is wrong is told by its line, what stands beside it is kept.
    try:
        lines = [f"disk,host=c used=3 {int(now.timestamp())}250", "disk,host=d used=three"]
        writes.write("bucket", record=lines, write_precision=WritePrecision.MS)
        raise SystemExit("a bad line was taken")
    except ApiException as error:
        assert error.status == 400, error
        assert "line 2" in str(error.body) and "1 of 2" in str(error.body), error.body

with InfluxDBClient(url=url, token="none", org="org", enable_gzip=True) as client:
    with client.write_api(write_options=WriteOptions(batch_size=500)) as batching:
        first = int(now.timestamp()) - 1_000
        for second in range(1_000):
            line = f"load,host=z value={second}i {(first + second) * 1_000_000_000}"
            batching.write("bucket", record=line)

print("written")
