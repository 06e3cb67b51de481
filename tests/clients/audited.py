"""DuckDB over the files of a table whose server is off: audited.py STORE TABLE ROWS SUM LAST

The table has ROWS rows, one for each node and time; its field `frame` adds up to SUM and has every
value from 1 to LAST.
"""

import sys

from facts import duckdb_with_delta

store, table = sys.argv[1:3]
wanted = tuple(map(int, sys.argv[3:6]))
connection = duckdb_with_delta()
source = f"delta_scan('file://{store}/{table}')"
asked = f"SELECT count(*), sum(frame), count(DISTINCT frame) FROM {source}"
found = tuple(map(int, connection.execute(asked).fetchone()))
assert found == wanted, f"rows, sum, frames are {found}, not {wanted}"
asked = f"SELECT count(*) FROM (SELECT DISTINCT node, time FROM {source})"
keys = connection.execute(asked).fetchone()[0]
assert keys == wanted[0], f"{keys} keys in {wanted[0]} rows"
print(f"DuckDB: {wanted[0]} rows, each once")
