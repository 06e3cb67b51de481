"""What a table must hold, and how an answer is held against it."""

import datetime
import decimal
import glob
import json
import os
import sys

import duckdb
import duckdb_extension_delta

decimal.getcontext().prec = 60
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)


class Facts:
    def __init__(self, path):
        with open(path) as file:
            facts = json.load(file)
        self.table, self.rows, self.fields = facts["table"], facts["rows"], facts["fields"]
        self.first, self.last = (microseconds(facts[key]) for key in ("first", "last"))

    def scaled(self, field, raw):
        """The number that a stored integer means, exactly."""
        return decimal.Decimal(raw).scaleb(-field["decimals"])

    def wanted(self, field):
        """Count, min, max and sum of a field, exactly."""
        values = (self.scaled(field, field[key]) for key in ("min", "max", "sum"))
        return (field["count"], *values)


def duckdb_with_delta():
    """A connection that knows `delta_scan`, in UTC."""
    folder = os.path.dirname(duckdb_extension_delta.__file__)
    (extension,) = glob.glob(f"{folder}/extensions/*/delta.duckdb_extension")
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{extension}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def microseconds(number):
    return EPOCH + datetime.timedelta(microseconds=number)


def same(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: got {got!r}, wanted {wanted!r}")


def same_numbers(what, got, wanted):
    """Doubles must be the nearest to the exact number; everything else must be it."""
    nearest = [float(w) if isinstance(g, float) else w for g, w in zip(got, wanted)]
    same(what, list(got), nearest)
