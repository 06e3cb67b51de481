"""Which clients work with a server, and what each was tried with: table.py HTTP_URL POSTGRES_PORT
NAME TOKEN --writer TOKEN [--node FOLDER] [--write docs/clients.md]

The server is a fresh one whose token NAME has the role `admin`; the token of --writer has the role
`write`. What is asked was written before by this program, through Flight and line protocol, so
every trial compares an answer with what it must be. Ends with 1 and a line for each trial that did
not come out as it must: one that failed, a refusal with other words, a known gap (KNOWN) that is
none any more. Writes no page where a client is not installed.
"""

import argparse
import asyncio
import base64
import contextlib
import csv
import dataclasses
import datetime
import decimal
import faulthandler
import glob
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import urllib.request

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi
import asyncpg
import connectorx
import duckdb
import duckdb_extension_postgres_scanner
import jpype
import jpype.imports
import pandas
import polars
import psycopg
import pyarrow
import pyarrow.flight
import pyarrow.ipc
import sqlalchemy

UTC = datetime.timezone.utc
JDBC = "/usr/share/java/postgresql.jar"
ARROW = "application/vnd.apache.arrow.stream"

# What is not served and should be, by client: trial -> (words of the error, what is missing).
KNOWN = {
    "asyncpg": {
        "`= any($1)` with integers": (
            "RecursionError",
            "`array_agg(oid)` is `integer[]`, by which asyncpg looks types up",
        ),
        "an array as answer": ("RecursionError", "the same"),
    },
}

# ---------------------------------------------------------------- what is there to be asked

# One tick of four GPUs a second, thrice. Energies are past what a double can hold.
NOW = datetime.datetime.now(UTC)
START = NOW.replace(minute=0, second=0, microsecond=0) - datetime.timedelta(hours=2)
TIMES = [START.replace(second=second, microsecond=250_001 + second) for second in range(3)]
THINGS = [
    ("n1", "0", 'H100 "80GB"'),
    ("n1", "1", "A100, PCIe"),
    ("n2", "0", "Größe\nzwei"),
    ("n2", "1", None),
]
TYPES = {
    "time": "timestamp with time zone",
    "cluster": "text",
    "node": "text",
    "gpu": "text",
    "model": "text",
    "gpu_temp": "bigint",
    "total_energy_consumption": "bigint",
    "power_usage": "double precision",
}
NAMES = list(TYPES)
OIDS = [1184, 25, 25, 25, 25, 20, 20, 701]
KEY = ["cluster", "node", "gpu", "time"]
ROWS = [
    (time, "c1", node, gpu, model, 30 + t if model else None, 2**60 + 4 * t + n, 699.123 - n)
    for t, time in enumerate(TIMES)
    for n, (node, gpu, model) in enumerate(THINGS)
]
ALL = f"SELECT {', '.join(NAMES)} FROM gpu ORDER BY time, node, gpu"
WARM = [row for row in ROWS if row[5] is not None and row[5] > 30]

# How many rows pass a filter; one row passes `filters`.
COUNT = "SELECT count(*) FROM gpu WHERE "
VALUES = (TIMES[1], "n1", 32, 698.5)

# Written by line protocol: numbers at their ends.
ENDS = [("most", 2**63 - 1, 1.7976931348623157e308), ("least", 1 - 2**63, 5e-324), ("tenth", 0, 0.1)]

# Enough for an answer of many batches.
MANY = 200_000

# Computes for hours, with pauses in which it can be stopped.
ENDLESS = "SELECT count(*) FROM generate_series(1, 1000000000000)"


def filters(placeholder=None):
    """The statement that takes VALUES, each in its place."""
    holders = [placeholder or f"${number}" for number in range(1, 5)]
    return COUNT + "time >= {} AND node = {} AND gpu_temp >= {} AND power_usage > {}".format(*holders)


def write_rows():
    schema = pyarrow.schema(
        [("time", pyarrow.timestamp("us", "UTC"))]
        + [(name, pyarrow.string()) for name in ("cluster", "node", "gpu", "model")]
        + [("gpu_temp", pyarrow.int16()), ("total_energy_consumption", pyarrow.int64())]
        + [("power_usage", pyarrow.float64())]
    )
    columns = [pyarrow.array(column, field.type) for column, field in zip(zip(*ROWS), schema)]
    same(put("gpu", pyarrow.table(columns, schema)), [(len(ROWS), 0, 0)])
    stamp = int(START.timestamp())
    lines = [f"ends,name={name} whole={whole}i,real={real!r} {stamp}" for name, whole, real in ENDS]
    same(curl("api/v2/write?precision=s", "--data-binary", "\n".join(lines)), (204, ""))


def put(table, data, token=None):
    """Writes by Flight; answers with what became of each batch."""
    client = pyarrow.flight.connect(flight_url())
    options = pyarrow.flight.FlightCallOptions(headers=[(b"authorization", bearer(token).encode())])
    descriptor = pyarrow.flight.FlightDescriptor.for_path(table)
    writer, results = client.do_put(descriptor, data.schema, options)
    told = []
    for batch in data.to_batches():
        writer.write_batch(batch)
        if (result := results.read()) is None:
            break
        result = json.loads(result.to_pybytes())
        told.append((result["rows"], result["refused_rows"], result["refused_values"]))
    writer.close()
    return told


# ---------------------------------------------------------------- how it is tried


class NotTested(Exception):
    """A client is not installed."""


@dataclasses.dataclass
class Client:
    protocol: str
    name: str
    version: str = ""
    answered: list = dataclasses.field(default_factory=list)
    otherwise: list = dataclasses.field(default_factory=list)


# Functions that try a client; those that were tried; what did not come out; who is not installed.
every, clients, wrong, not_tested = [], [], [], []


class Trials:
    """The trials of one client."""

    def __init__(self, client):
        self.client, self.seen = client, set()

    def version(self, version, parts=2):
        self.client.version = ".".join(str(version).split(".")[:parts])

    @contextlib.contextmanager
    def __call__(self, what, refused=None):
        """The block holds, or with `refused` fails with these words, or is a gap of KNOWN."""
        assert what not in self.seen, f"{what} is tried twice"
        self.seen.add(what)
        error = None
        try:
            yield
        except Exception as raised:
            error = shown(raised)
        name = self.client.name
        words, why = KNOWN.get(name, {}).get(what, (refused, None))
        if words is None and error is None:
            self.client.answered.append(what)
        elif words is None:
            wrong.append(f"{name}: {what}: {error}")
        elif error is None:
            wrong.append(
                f"{name}: {what}: " + ("is served: strike it from KNOWN" if why else "was not refused")
            )
        elif words not in error:
            wrong.append(f"{name}: {what}: failed without {words!r}: {error}")
        else:
            self.client.otherwise.append((what, f"not served: {why}" if why else f"refused: {words}"))


def client(protocol, name):
    """Declares a client; its function is given its Trials."""

    def declare(function):
        def run():
            tried = Client(protocol, name)
            trials = Trials(tried)
            try:
                function(trials)
            except NotTested as missing:
                not_tested.append(f"{name}: {missing}")
                return
            except Exception as error:
                wrong.append(f"{name}: after {list(trials.seen)[-1:]}: {shown(error)}")
            for what in KNOWN.get(name, {}).keys() - trials.seen:
                wrong.append(f"{name}: {what}: is in KNOWN and is not tried")
            clients.append(tried)

        every.append(run)
        return function

    return declare


@contextlib.contextmanager
def raises(words):
    """The block fails with these words, as it must."""
    try:
        yield
    except Exception as error:
        assert words in shown(error), shown(error)
        return
    raise AssertionError(f"nothing failed with {words!r}")


def shown(error):
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def same(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


def in_utc(row):
    return tuple(
        value.astimezone(UTC) if isinstance(value, datetime.datetime) else value for value in row
    )


def same_rows(got, wanted=None):
    same([in_utc(row) for row in got], ROWS if wanted is None else wanted)


def program(name):
    if shutil.which(name) is None:
        raise NotTested(f"no command {name}; tests/run installs it")
    return name


def bearer(token=None):
    return f"Bearer {arguments.token if token is None else token}"


def flight_url():
    return arguments.url.replace("http://", "grpc://").rstrip("/")


def postgres_url(scheme="postgresql"):
    return f"{scheme}://{arguments.name}:{arguments.token}@127.0.0.1:{arguments.port}/postgres"


def curl(path, *more, token=None):
    """A request's status and body."""
    command = ["curl", "-sS", "-w", "\n%{http_code}", arguments.url.rstrip("/") + "/" + path, *more]
    if token != "":
        command += ["-H", f"Authorization: {bearer(token)}"]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    body, _, status = said.rpartition(b"\n")
    try:
        return int(status), body.decode()
    except UnicodeDecodeError:
        return int(status), body


def post(statement, accept):
    """An answer over HTTP, to be read as it comes."""
    headers = {"Authorization": bearer(), "Accept": accept}
    request = urllib.request.Request(f"{arguments.url.rstrip('/')}/sql", statement.encode(), headers)
    return urllib.request.urlopen(request)


# ---------------------------------------------------------------- PostgreSQL wire

WIRE = "PostgreSQL wire"


def psql(*commands, user=None, password=None, options=(), complains=False):
    """Rows of cells that psql prints for commands; what else it complains of is raised."""
    where = f"host=127.0.0.1 port={arguments.port} user={user or arguments.name} dbname=postgres"
    line = ["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "--csv", *options, where]
    variables = {**os.environ, "PGPASSWORD": password or arguments.token, "PGTZ": "UTC"}
    ran = {"capture_output": True, "text": True, "env": variables, "timeout": 60}
    said = subprocess.run(line, input="\n".join(commands), **ran)
    if said.returncode != 0 or (said.stderr and not complains):
        raise RuntimeError(said.stderr)
    return [tuple(row) for row in csv.reader(io.StringIO(said.stdout))]


def of_text(row):
    """A row of ALL that was read as text."""
    time, cluster, node, gpu, model, temp, energy, power = row
    time = datetime.datetime.fromisoformat(time)
    return (
        time,
        cluster,
        node,
        gpu,
        model or None,
        int(temp) if temp else None,
        int(energy),
        float(power),
    )


@client(WIRE, "psql")
def with_psql(tries):
    version = subprocess.run([program("psql"), "--version"], capture_output=True, text=True).stdout
    tries.version(version.split()[2], parts=1)
    with tries("rows"):
        same_rows(map(of_text, psql(f"{ALL};")))
    with tries("several statements in one `-c`, and several `-c`"):
        texts = ("-c", "SELECT 1; SELECT count(*) FROM gpu", "-c", "SELECT 'x;y'")
        same(psql(options=texts), [("1",), ("12",), ("x;y",)])
    with tries("`PREPARE`, `EXECUTE`"):
        prepared = "PREPARE warm(int8) AS SELECT count(*) FROM gpu WHERE gpu_temp > $1;"
        same(psql(prepared, "EXECUTE warm(30);"), [(str(len(WARM)),)])
    with tries("`FETCH_COUNT`"):
        same_rows(map(of_text, psql(f"{ALL};", options=("-v", "FETCH_COUNT=5"))))
    with tries("`\\gset`"):
        same(psql("SELECT max(gpu_temp) AS most FROM gpu \\gset", "SELECT :most + 0;"), [("32",)])
    with tries("`\\gdesc`"):
        described = psql(f"{ALL} \\gdesc")
        same(described, list(TYPES.items()))
    with tries("`COPY ... TO STDOUT (FORMAT csv)`"):
        same_rows(map(of_text, psql(f"COPY ({ALL}) TO STDOUT (FORMAT csv);")))
    with tries("`\\copy ... TO STDOUT`"):
        same_rows(map(of_text, psql(f"\\copy ({ALL}) TO STDOUT (FORMAT csv)")))
    for zone in ("Asia/Tokyo", "Asia/Kolkata"):
        with tries(f"`SET TimeZone = '{zone}'`"):
            ((there,),) = psql(f"SET TimeZone = '{zone}';", "SELECT max(time) FROM gpu;")
            same(datetime.datetime.fromisoformat(there), TIMES[-1])
    with tries("the same expression twice"):
        same(psql("SELECT count(*), count(*) FROM gpu;"), [("12", "12")])
    with tries("a savepoint before each statement of a transaction (`ON_ERROR_ROLLBACK`)"):
        failing = ("\\set ON_ERROR_STOP 0", "\\set ON_ERROR_ROLLBACK on", "BEGIN;", "SELECT 1/0;")
        same(psql(*failing, "SELECT 7;", "COMMIT;", complains=True), [("7",)])
    with tries("`\\d`"):
        relations = [row[:3] for row in psql("\\d")]
        same(relations, [("public", "ends", "table"), ("public", "gpu", "table")])
    with tries("`\\dt`"):
        same([row[:3] for row in psql("\\dt g*")], [("public", "gpu", "table")])
    with tries("`\\d gpu`"):
        columns = {row[0]: (row[1], row[3]) for row in psql("\\d gpu") if len(row) == 5}
        wanted = {name: (kind, "not null" if name in KEY else "") for name, kind in TYPES.items()}
        same(columns, wanted)
    with tries("`\\d+ gpu`"):
        columns = {row[0]: row[1] for row in psql("\\d+ gpu") if len(row) > 5}
        same(columns, TYPES)
    with tries("`\\dt+`"):
        same([row[:4] for row in psql("\\dt+ gpu")], [("public", "gpu", "table", arguments.name)])
    with tries("`\\dv latest.*`"):
        same(
            [row[:3] for row in psql("\\dv latest.*")],
            [("latest", "ends", "view"), ("latest", "gpu", "view")],
        )
    with tries("`\\dn`"):
        same([row[0] for row in psql("\\dn")], ["latest", "public", "system"])
    with tries("`\\l`"):
        same([row[0] for row in psql("\\l")], ["postgres"])
    with tries("`\\df time_bucket`"):
        assert "time_bucket" in [row[1] for row in psql("\\df time_bucket")]
    with tries("`\\du`"):
        same([row[0] for row in psql("\\du")], [arguments.name])
    with tries("`\\d gpu`: the key"):
        told = psql("\\pset tuples_only off", "\\pset format unaligned", "\\d gpu")
        same([row[0].strip() for row in told if "PRIMARY" in row[0]], ['"gpu_pkey" PRIMARY KEY'])
    with tries("`\\di`"):
        same([row[1] for row in psql("\\di")], ["ends_pkey", "gpu_pkey"])
    with tries("`\\d latest.gpu`, `\\d gpu_pkey`, `\\d pg_class`"):
        columns = {row[0]: row[1] for row in psql("\\d latest.gpu") if len(row) == 5}
        same(columns, TYPES)
        same([row[0] for row in psql("\\d gpu_pkey") if len(row) > 2], KEY)
        assert "relname" in [row[0] for row in psql("\\d pg_class")]
    for command in (
        "\\df+ time_bucket",
        "\\dn+",
        "\\l+",
        "\\dv+ latest.*",
        "\\di+",
        "\\dp",
        "\\db",
        "\\dD",
    ):
        with tries(f"`{command}`"):
            psql(command)
    with tries("`\\sf`", refused="functions are built in"):
        psql("\\sf time_bucket")
    with tries("`\\dT`"):
        same(psql("\\dT"), [])
    with tries("a column that is not there: told which was meant"), raises(
        "Did you mean 'gpu.power_usage'"
    ):
        psql("SELECT power_usag FROM gpu;")
    with tries("`DELETE`", refused="SQL here only reads"):
        psql("DELETE FROM gpu;")
    with tries("`CREATE TABLE`", refused="SQL here only reads"):
        psql("CREATE TABLE t (a int);")
    with tries("`COPY ... FROM STDIN`", refused="SQL here only reads"):
        psql("COPY gpu FROM STDIN;")
    with tries("a wrong token", refused="password authentication failed"):
        psql("SELECT 1;", password=arguments.token[:-1] + "x")
    with tries("a token of role `write`", refused="password authentication failed"):
        psql("SELECT 1;", user="writer", password=arguments.writer)


def connect(**more):
    where = {"host": "127.0.0.1", "port": arguments.port, "user": arguments.name}
    return psycopg.connect(**where, password=arguments.token, dbname="postgres", autocommit=True, **more)


@client(WIRE, "psycopg")
def with_psycopg(tries):
    tries.version(psycopg.__version__)
    connection = connect()
    for kind, binary in (("text", False), ("binary", True)):
        cursor = connection.cursor(binary=binary)
        with tries(f"rows as {kind}"):
            same_rows(cursor.execute(ALL).fetchall())
        with tries(f"numbers at their ends as {kind}"):
            same(set(cursor.execute("SELECT name, whole, real FROM ends").fetchall()), set(ENDS))
        with tries(f"arrays as {kind}"):
            got = cursor.execute(
                "SELECT array_agg(gpu_temp ORDER BY time) FROM gpu WHERE node = 'n1' AND gpu = '0'"
            )
            same(got.fetchone(), ([30, 31, 32],))
    cursor = connection.cursor()
    with tries("parameters of text, time, integer, double"):
        same(cursor.execute(filters("%s"), VALUES).fetchone(), (1,))
    with tries("parameters of date, Decimal, bool, timedelta, None"):
        day, width = TIMES[0].date(), datetime.timedelta(seconds=1)
        asked = "SELECT %s::date, %s::numeric + 1, %s::bool, %s::interval, %s::text IS NULL"
        got = cursor.execute(asked, (day, decimal.Decimal("1.5"), True, width, None)).fetchone()
        same(got, (day, decimal.Decimal("2.5"), True, width, True))
    with tries("`= any(%s)` with a list of text"):
        same(cursor.execute(COUNT + "node = any(%s)", (["n1", "x"],)).fetchone(), (6,))
    with tries("`= any(%s)` with a list of integers"):
        same(cursor.execute(COUNT + "gpu_temp = any(%s)", ([30, 32],)).fetchone(), (6,))
    with tries("`= any(%s)` with a list of times"):
        same(cursor.execute(COUNT + "time = any(%s)", (TIMES[:2],)).fetchone(), (8,))
    with tries("`now() - %s` with a timedelta"):
        since = datetime.timedelta(days=1)
        same(cursor.execute(COUNT + "time > now() - %s", (since,)).fetchone(), (len(ROWS),))
    with tries("`= any(%b)` in binary"):
        same(cursor.execute(COUNT + "node = any(%b)", (["n1", "x"],)).fetchone(), (6,))
    with tries("a prepared statement, five times"):
        for temp, rows in ((30, 3), (31, 3), (32, 3), (33, 0), (30, 3)):
            counted = cursor.execute(COUNT + "gpu_temp = %s", (temp,), prepare=True)
            same(counted.fetchone(), (rows,))
    with tries("types of columns"):
        description = cursor.execute(ALL).description
        same([column.name for column in description], NAMES)
        same([column.type_code for column in description], OIDS)
    with tries("a server-side cursor"), connection.transaction():
        with connection.cursor(name="some") as some:
            some.itersize = 5
            same_rows(list(some.execute(ALL)))
    with tries(
        "a server-side cursor that scrolls back", refused="a cursor goes forward only"
    ), connection.transaction():
        with connection.cursor(name="back", scrollable=True) as back:
            back.execute(ALL)
            back.scroll(5)
            back.scroll(-1)
    with tries("`cursor.stream`"):
        same_rows(list(cursor.stream(ALL)))
    with tries("a pipeline"), connect() as own, own.pipeline():
        cursors = [own.execute(COUNT + "node = %s", (node,)) for node in ("n1", "n2", "x")]
        same([answer.fetchone()[0] for answer in cursors], [6, 6, 0])
    with tries("`executemany` with `returning`"):
        cursor.executemany("SELECT %s::int8 + 1", [(1,), (2,)], returning=True)
        got = [cursor.fetchone()]
        cursor.nextset()
        same(got + [cursor.fetchone()], [(2,), (3,)])
    with tries("`COPY` as text"), cursor.copy(f"COPY ({ALL}) TO STDOUT") as copy:
        copy.set_types(["timestamptz"] + ["text"] * 4 + ["int8", "int8", "float8"])
        same_rows(copy.rows())
    with tries("`COPY` as binary"), cursor.copy(f"COPY ({ALL}) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["timestamptz"] + ["text"] * 4 + ["int8", "int8", "float8"])
        same_rows(copy.rows())
    with tries("SQLSTATE of an error, and the connection goes on"):
        with raises("UndefinedColumn"):
            cursor.execute("SELECT nothing FROM gpu")
        same(cursor.execute("SELECT 1").fetchone(), (1,))
    with tries("`options='-c statement_timeout=...'`"), raises("statement timeout"):
        connect(options="-c statement_timeout=200").execute(ENDLESS)
    with tries("`cancel_safe`"), raises("user request"):
        canceller = threading.Timer(0.3, connection.cancel_safe)
        canceller.start()
        connection.execute(ENDLESS)
    with tries("`INSERT`", refused="SQL here only reads"):
        cursor.execute("INSERT INTO gpu (node) VALUES (%s)", ("n",))


@client(WIRE, "asyncpg")
def with_asyncpg(tries):
    tries.version(asyncpg.__version__)
    asyncio.run(asyncpg_trials(tries))


async def asyncpg_trials(tries):
    where = {"host": "127.0.0.1", "port": arguments.port, "user": arguments.name}
    connection = await asyncpg.connect(
        **where, password=arguments.token, database="postgres", timeout=20
    )
    with tries("rows"):
        same_rows(map(tuple, await connection.fetch(ALL)))
    with tries("numbers at their ends"):
        same(set(map(tuple, await connection.fetch("SELECT name, whole, real FROM ends"))), set(ENDS))
    with tries("parameters of text, timestamptz, integer, double"):
        same(await connection.fetchval(filters(), *VALUES), 1)
    with tries("parameters of date, Decimal, timedelta, None"):
        day, width = TIMES[0].date(), datetime.timedelta(seconds=1)
        asked = "SELECT $1::date, $2::numeric + 1, $3::interval, $4::text IS NULL"
        got = await connection.fetchrow(asked, day, decimal.Decimal("1.5"), width, None)
        same(tuple(got), (day, decimal.Decimal("2.5"), width, True))
    with tries("a prepared statement"):
        prepared = await connection.prepare(COUNT + "gpu_temp = $1")
        same([await prepared.fetchval(temp) for temp in (30, 33)], [3, 0])
        same([parameter.name for parameter in prepared.get_parameters()], ["int8"])
        same([column.type.name for column in prepared.get_attributes()], ["int8"])
    with tries("a cursor"):
        async with connection.transaction():
            same_rows([tuple(row) async for row in connection.cursor(ALL, prefetch=5)])
    with tries("`= any($1::text[])`"):
        same(await connection.fetchval(COUNT + "node = any($1::text[])", ["n1", "x"]), 6)
    with tries("`= any($1)` with text"):
        same(await connection.fetchval(COUNT + "node = any($1)", ["n1", "x"]), 6)
    with tries("`= any($1)` with integers"):
        same(await connection.fetchval(COUNT + "gpu_temp = any($1)", [30, 32]), 6)
    with tries("an array as answer"):
        array = "SELECT array_agg(gpu_temp ORDER BY time) FROM gpu WHERE node = 'n1' AND gpu = '0'"
        same(await connection.fetchval(array), [30, 31, 32])
    with tries("`copy_from_query`"):
        copied = io.BytesIO()
        await connection.copy_from_query(ALL, output=copied, format="csv")
        same_rows(map(of_text, csv.reader(io.StringIO(copied.getvalue().decode()))))
    with tries("`reset`, as a pool does"):
        await connection.execute("SET TimeZone = 'Asia/Kolkata'")
        await connection.reset()
        same(await connection.fetchval("SHOW TimeZone"), "UTC")
    await connection.close()


@client(WIRE, "SQLAlchemy, with psycopg")
def with_sqlalchemy(tries):
    tries.version(sqlalchemy.__version__)
    engine = sqlalchemy.create_engine(postgres_url("postgresql+psycopg"))
    inspector = sqlalchemy.inspect(engine)
    with tries("`get_schema_names`"):
        same(inspector.get_schema_names(), ["information_schema", "latest", "public", "system"])
    with tries("`get_table_names`"):
        same(sorted(inspector.get_table_names()), ["ends", "gpu"])
    with tries("`get_view_names`"):
        same(sorted(inspector.get_view_names("latest")), ["ends", "gpu"])
    with tries("`has_table`"):
        same([inspector.has_table(name) for name in ("gpu", "nothing")], [True, False])
    with tries("`get_columns`"):
        columns = inspector.get_columns("gpu")
        kinds = {column["name"]: str(column["type"]).lower() for column in columns}
        same({**kinds, "time": TYPES["time"]}, TYPES)
        assert [column["name"] for column in columns if not column["nullable"]] == [
            "time",
            "cluster",
            "node",
            "gpu",
        ]
    with tries("`get_pk_constraint`"):
        same(inspector.get_pk_constraint("gpu")["constrained_columns"], KEY)
    with tries("`get_foreign_keys`, `get_indexes`, `get_unique_constraints`"):
        same(
            (
                inspector.get_foreign_keys("gpu"),
                inspector.get_indexes("gpu"),
                inspector.get_unique_constraints("gpu"),
            ),
            ([], [], []),
        )
    with tries("`get_table_comment`"):
        same(inspector.get_table_comment("gpu"), {"text": None})
    with tries("`get_sequence_names`, `get_enums`, `get_domains`, `get_materialized_view_names`"):
        same(
            (
                inspector.get_sequence_names(),
                inspector.get_enums(),
                inspector.get_domains(),
                inspector.get_materialized_view_names(),
                inspector.get_check_constraints("gpu"),
                inspector.get_table_options("gpu"),
            ),
            ([], [], [], [], [], {}),
        )
    with tries("`get_multi_columns`, `get_multi_pk_constraint`"):
        same(set(inspector.get_multi_columns()), {(None, "ends"), (None, "gpu")})
        keys = inspector.get_multi_pk_constraint()
        same(keys[None, "gpu"]["constrained_columns"], KEY)
    with tries("`Table(autoload_with=...)`"), engine.connect() as connection:
        gpu = sqlalchemy.Table("gpu", sqlalchemy.MetaData(), autoload_with=engine)
        asked = sqlalchemy.select(sqlalchemy.func.count()).where(gpu.c.gpu_temp > 30)
        same(connection.execute(asked).scalar(), len(WARM))
    with tries("`MetaData.reflect`"):
        metadata = sqlalchemy.MetaData()
        metadata.reflect(engine)
        same(sorted(metadata.tables), ["ends", "gpu"])
    columns = map(sqlalchemy.column, NAMES)
    gpu = sqlalchemy.table("gpu", *columns)
    with tries("rows of a `select`"), engine.connect() as connection:
        same_rows(connection.execute(sqlalchemy.select(gpu).order_by(gpu.c.time, gpu.c.node, gpu.c.gpu)))
    with tries("bound parameters"), engine.connect() as connection:
        asked = sqlalchemy.select(sqlalchemy.func.count()).select_from(gpu)
        asked = asked.where(gpu.c.node == "n1", gpu.c.time >= TIMES[1], gpu.c.gpu_temp.in_([31, 32]))
        same(connection.execute(asked).scalar(), 4)
        text = sqlalchemy.text(COUNT + "power_usage > :watts")
        same(connection.execute(text, {"watts": 698.5}).scalar(), 3)
    with tries("`stream_results`"), engine.connect() as connection:
        streaming = connection.execution_options(stream_results=True, max_row_buffer=5)
        same_rows(streaming.execute(sqlalchemy.text(ALL)))
    with tries("`LIMIT`, `OFFSET`"), engine.connect() as connection:
        asked = sqlalchemy.select(gpu).order_by(gpu.c.time, gpu.c.node, gpu.c.gpu).limit(2).offset(5)
        same_rows(connection.execute(asked), ROWS[5:7])


# node-postgres answers one request per line of standard input.
NODE = """
const { Client } = require("pg"), Cursor = require("pg-cursor"), readline = require("readline");
const out = (value) => value instanceof Date ? { ms: value.getTime() } : value;
const into = (value) => value && value.ms ? new Date(value.ms) : value;
(async () => {
  const client = new Client();
  await client.connect();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let { at_a_time, ...query } = JSON.parse(line), said = [];
    query = { rowMode: "array", ...query, values: (query.values || []).map(into) };
    if (!query.values.length) delete query.values;
    try {
      if (at_a_time) {
        const cursor = client.query(new Cursor(query.text, query.values, query));
        for (let rows; (rows = await cursor.read(at_a_time)).length;) said.push(rows);
      } else {
        const results = [].concat(await client.query(query));
        said = results.map((r) => ({ rows: r.rows.map((row) => row.map(out)), types: r.fields.map((f) => f.dataTypeID) }));
      }
    } catch (error) { said = { code: error.code, message: error.message }; }
    console.log(JSON.stringify(said));
  }
  await client.end();
})();
"""


@client(WIRE, "node-postgres")
def with_node(tries):
    package = pathlib.Path(arguments.node) / "node_modules" / "pg" / "package.json"
    if not package.exists():
        raise NotTested(f"no {package}; tests/run installs it")
    tries.version(json.loads(package.read_text())["version"])
    variables = {"NODE_PATH": package.parents[1], "PGHOST": "127.0.0.1", "PGPORT": str(arguments.port)}
    variables |= {"PGUSER": arguments.name, "PGPASSWORD": arguments.token, "PGDATABASE": "postgres"}
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    node = subprocess.Popen([program("node"), "-e", NODE], env={**os.environ, **variables}, **piped)

    def ask(text, *values, **more):
        node.stdin.write(json.dumps({"text": text, "values": values, **more}) + "\n")
        node.stdin.flush()
        said = json.loads(node.stdout.readline())
        if isinstance(said, dict):
            raise RuntimeError(f"{said['code']}: {said['message']}")
        return said

    def milliseconds(time):
        return {"ms": int(time.timestamp() * 1000)}

    wanted = [[milliseconds(row[0]), *row[1:6], str(row[6]), row[7]] for row in ROWS]
    wanted = [[*row[:5], row[5] and str(row[5]), *row[6:]] for row in wanted]
    with tries("rows: `Date`, strings, numbers; `bigint` as string"):
        same(ask(ALL)[0]["rows"], wanted)
    with tries("types of columns"):
        same(ask(ALL)[0]["types"], OIDS)
    with tries("parameters of text, `Date`, integer, double"):
        counted = ask(filters(), milliseconds(TIMES[1]), *VALUES[1:])
        same(counted[0]["rows"], [["1"]])
    with tries("a named statement, twice"):
        for temp, rows in ((30, "3"), (33, "0")):
            counted = ask(COUNT + "gpu_temp = $1", temp, name="warm")
            same(counted[0]["rows"], [[rows]])
    with tries("`= any($1)` with an array of text"):
        same(ask(COUNT + "node = any($1)", ["n1", "x"])[0]["rows"], [["6"]])
    with tries("`= any($1)` with an array of numbers"):
        same(ask(COUNT + "gpu_temp = any($1)", [30, 32])[0]["rows"], [["6"]])
    with tries("an array as answer"):
        array = "SELECT array_agg(gpu ORDER BY time, gpu) FROM gpu WHERE node = 'n1' AND gpu_temp = 30"
        same(ask(array)[0]["rows"], [[["0", "1"]]])
    with tries("several statements in one text"):
        same([result["rows"] for result in ask("SELECT 1::int; SELECT 2::int")], [[[1]], [[2]]])
    with tries("a cursor (pg-cursor)"):
        chunks = ask(ALL, at_a_time=5)
        same([len(rows) for rows in chunks], [5, 5, 2])
        same([row[2:4] for rows in chunks for row in rows], [list(row[2:4]) for row in ROWS])
    with tries("SQLSTATE of an error"), raises("42703"):
        ask("SELECT nothing FROM gpu")
    node.stdin.close()
    same(node.wait(20), 0)


@client(WIRE, "pgJDBC")
def with_jdbc(tries):
    if not pathlib.Path(JDBC).exists():
        raise NotTested(f"no {JDBC}; tests/run installs it")
    program("java")
    jpype.startJVM(classpath=[JDBC], convertStrings=True)
    from java.sql import DriverManager, SQLException, Timestamp, Types
    from java.time import OffsetDateTime
    from java.util import Properties

    def connected(**more):
        properties = Properties()
        for name, value in {"user": arguments.name, "password": arguments.token, **more}.items():
            properties.setProperty(name, value)
        return DriverManager.getConnection(
            f"jdbc:postgresql://127.0.0.1:{arguments.port}/postgres", properties
        )

    def read(answer, *columns):
        """The named columns of all rows, as text."""
        rows = []
        while answer.next():
            rows.append(tuple(answer.getString(column) for column in columns))
        return rows

    def rows_of(answer):
        rows = []
        while answer.next():
            at = answer.getObject(1, OffsetDateTime.class_).toInstant()
            time = datetime.datetime.fromtimestamp(at.getEpochSecond(), UTC)
            time = time.replace(microsecond=at.getNano() // 1000)
            tags = [answer.getString(column) for column in range(2, 6)]
            temp = answer.getLong(6)
            temp = None if answer.wasNull() else temp
            rows.append((time, *tags, temp, answer.getLong(7), answer.getDouble(8)))
        return rows

    connection = connected()
    about = connection.getMetaData()
    tries.version(about.getDriverVersion())
    with tries("rows"):
        same_rows(rows_of(connection.createStatement().executeQuery(ALL)))
    with tries("classes of columns"):
        columns = connection.createStatement().executeQuery(ALL).getMetaData()
        classes = [str(columns.getColumnClassName(1 + i)).split(".")[-1] for i in range(8)]
        same(classes, ["Timestamp"] + ["String"] * 4 + ["Long", "Long", "Double"])
    for name, value, what in (
        (
            "prepareThreshold",
            "5",
            "`PreparedStatement` with `setTimestamp`, `setString`, `setLong`, `setDouble`",
        ),
        ("prepareThreshold", "1", "the same with `prepareThreshold=1`: named, in binary"),
        ("preferQueryMode", "simple", "the same with `preferQueryMode=simple`"),
    ):
        with tries(what):
            own = connected(**{name: value})
            prepared = own.prepareStatement(filters("?"))
            for least, wanted in ((32, 1), (31, 2), (33, 0)):
                prepared.setTimestamp(1, Timestamp(int(TIMES[1].timestamp() * 1000)))
                prepared.setString(2, "n1")
                prepared.setLong(3, least)
                prepared.setDouble(4, 698.5)
                same(read(prepared.executeQuery(), 1), [(str(wanted),)])
            own.close()
    with tries("`setObject` of OffsetDateTime, `setNull`"):
        prepared = connection.prepareStatement(COUNT + "time >= ? AND (? IS NULL OR node = 'x')")
        prepared.setObject(1, OffsetDateTime.parse(TIMES[1].isoformat()))
        prepared.setNull(2, Types.VARCHAR)
        same(read(prepared.executeQuery(), 1), [("8",)])
    with tries("`= any(?)` with `createArrayOf`"):
        prepared = connection.prepareStatement(COUNT + "node = any(?)")
        prepared.setArray(1, connection.createArrayOf("text", jpype.JArray(jpype.JString)(["n1", "x"])))
        same(read(prepared.executeQuery(), 1), [("6",)])
    with tries("`getArray`"):
        answer = connection.createStatement().executeQuery(
            "SELECT array_agg(gpu ORDER BY gpu) FROM gpu WHERE node = 'n1' AND gpu_temp = 30"
        )
        answer.next()
        same(list(map(str, answer.getArray(1).getArray())), ["0", "1"])
    with tries("`setFetchSize` without autocommit: a portal"):
        connection.setAutoCommit(False)
        statement = connection.createStatement()
        statement.setFetchSize(5)
        same_rows(rows_of(statement.executeQuery(ALL)))
        connection.commit()
    connection.setAutoCommit(True)
    with tries("`setMaxRows`"):
        statement = connection.createStatement()
        statement.setMaxRows(3)
        same_rows(rows_of(statement.executeQuery(ALL)), ROWS[:3])
    with tries("`setQueryTimeout`"), raises("canceling statement"):
        statement = connection.createStatement()
        statement.setQueryTimeout(1)
        statement.executeQuery(ENDLESS)
    with tries("`isValid`, `setReadOnly`, `getCatalog`, `getSchema`"):
        connection.setReadOnly(True)
        same(
            (connection.isValid(5), connection.getCatalog(), connection.getSchema()),
            (True, "postgres", "public"),
        )
    with tries("`CopyManager`"):
        copies = connection.unwrap(jpype.JClass("org.postgresql.PGConnection")).getCopyAPI()
        out = jpype.JClass("java.io.StringWriter")()
        copies.copyOut(f"COPY ({ALL}) TO STDOUT (FORMAT csv)", out)
        same_rows(map(of_text, csv.reader(io.StringIO(str(out)))))
    with tries("`getCatalogs`"):
        same(read(about.getCatalogs(), "TABLE_CAT"), [("postgres",)])
    with tries("`getSchemas`"):
        names = [name for (name,) in read(about.getSchemas(), "TABLE_SCHEM")]
        same(names, ["information_schema", "latest", "pg_catalog", "public", "system"])
    with tries("`getTables`"):
        tables = read(about.getTables(None, "public", "%", None), "TABLE_NAME", "TABLE_TYPE")
        keys = [("ends_pkey", "INDEX"), ("gpu_pkey", "INDEX")]
        same(tables, [*keys, ("ends", "TABLE"), ("gpu", "TABLE")])
    with tries("`getTables` of views"):
        tables = read(about.getTables(None, "latest", "g%", ["VIEW"]), "TABLE_NAME", "TABLE_TYPE")
        same(tables, [("gpu", "VIEW")])
    with tries("`getTableTypes`"):
        assert {("TABLE",), ("VIEW",)} <= set(read(about.getTableTypes(), "TABLE_TYPE"))
    with tries("`getColumns`"):
        columns = read(
            about.getColumns(None, "public", "gpu", "%"), "COLUMN_NAME", "TYPE_NAME", "IS_NULLABLE"
        )
        short = {
            "timestamp with time zone": "timestamptz",
            "bigint": "int8",
            "double precision": "float8",
        }
        wanted = {
            (name, short.get(kind, kind), "NO" if name in KEY else "YES") for name, kind in TYPES.items()
        }
        same(set(columns), wanted)
    with tries("`getPrimaryKeys`, `getIndexInfo`, `getImportedKeys`"):
        wanted = [(name, str(1 + place), "gpu_pkey") for place, name in enumerate(KEY)]
        keys = about.getPrimaryKeys(None, "public", "gpu")
        same(read(keys, "COLUMN_NAME", "KEY_SEQ", "PK_NAME"), wanted)
        indexes = about.getIndexInfo(None, "public", "gpu", False, True)
        wanted = [("f", name, "A") for name in KEY]
        same(read(indexes, "NON_UNIQUE", "COLUMN_NAME", "ASC_OR_DESC"), wanted)
        same(read(about.getImportedKeys(None, "public", "gpu"), "FKCOLUMN_NAME"), [])
    with tries("`getTypeInfo`"):
        names = {name for (name,) in read(about.getTypeInfo(), "TYPE_NAME")}
        assert {"text", "int8", "float8", "timestamptz"} <= names, names
    with tries("`getFunctions`"):
        functions = set(read(about.getFunctions(None, None, "time_bucket"), "FUNCTION_NAME"))
        same(functions, {("time_bucket",)})
    with tries("`getTablePrivileges`"):
        assert ("SELECT",) in read(about.getTablePrivileges(None, "public", "gpu"), "PRIVILEGE")
    for what, answer in (
        ("`getBestRowIdentifier`", lambda: about.getBestRowIdentifier(None, "public", "gpu", 0, True)),
        ("`getColumnPrivileges`", lambda: about.getColumnPrivileges(None, "public", "gpu", "%")),
        ("`getCrossReference`", lambda: about.getCrossReference(None, None, "gpu", None, None, "ends")),
        ("`getExportedKeys`", lambda: about.getExportedKeys(None, "public", "gpu")),
        ("`getFunctionColumns`", lambda: about.getFunctionColumns(None, None, "time_bucket", "%")),
        ("`getProcedureColumns`", lambda: about.getProcedureColumns(None, None, "%", "%")),
        ("`getUDTs`", lambda: about.getUDTs(None, "public", "%", None)),
        ("`getVersionColumns`", lambda: about.getVersionColumns(None, "public", "gpu")),
        ("`getClientInfoProperties`", lambda: about.getClientInfoProperties()),
        ("`getSQLKeywords`", lambda: io.StringIO(str(about.getSQLKeywords()))),
    ):
        with tries(what):
            answer()
    with tries("`getSQLState` of an error"):
        state = None
        try:
            connection.createStatement().executeQuery("SELECT nothing FROM gpu")
        except SQLException as error:
            state = error.getSQLState()
        same(state, "42703")
    connection.close()


@client(WIRE, "DuckDB, with postgres_scanner")
def with_duckdb_over_postgres(tries):
    tries.version(duckdb.__version__)
    (folder,) = duckdb_extension_postgres_scanner.__path__
    (extension,) = glob.glob(f"{folder}/extensions/*/*.duckdb_extension")
    db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    db.execute(f"LOAD '{extension}'; SET TimeZone = 'UTC'")
    with tries("`postgres_query`, after `ATTACH`"):
        db.execute(f"ATTACH '{postgres_url()}' AS fleet (TYPE postgres, READ_ONLY)")
        rows = db.execute("FROM postgres_query('fleet', ?)", [ALL]).fetchall()
        same_rows(sorted(rows, key=lambda row: row[:4]))
    with tries("a table of the attached database"):
        same_rows(db.execute(ALL.replace("FROM gpu", "FROM fleet.gpu")).fetchall())
    with tries("a filter and an aggregate over it"):
        same(
            db.execute(
                "SELECT count(*) FROM fleet.public.gpu WHERE gpu_temp > 30 AND node = 'n1'"
            ).fetchone(),
            (4,),
        )
    with tries("`SHOW ALL TABLES`"):
        names = {(row[1], row[2]) for row in db.execute("SHOW ALL TABLES").fetchall()}
        assert {("public", "gpu"), ("latest", "gpu")} <= names, names


@client(WIRE, "Polars, with connectorx")
def with_connectorx(tries):
    tries.version(polars.__version__)
    with tries("`read_database_uri`"):
        same_rows(polars.read_database_uri(ALL, postgres_url()).rows())
    with tries("`read_database_uri` in partitions"):
        frame = polars.read_database_uri(
            "SELECT node, gpu_temp FROM gpu WHERE gpu_temp IS NOT NULL",
            postgres_url(),
            partition_on="gpu_temp",
            partition_num=2,
        )
        same(frame.height, 9)
    with tries("protocol `cursor`"):
        same(
            connectorx.read_sql(
                postgres_url(), "SELECT count(*) AS n FROM gpu", protocol="cursor", return_type="arrow"
            )["n"].to_pylist(),
            [12],
        )


@client(WIRE, "pandas, with SQLAlchemy")
def with_pandas(tries):
    tries.version(pandas.__version__)
    engine = sqlalchemy.create_engine(postgres_url("postgresql+psycopg"))
    with tries("`read_sql` of a statement"), engine.connect() as connection:
        same_rows(of_pandas(pandas.read_sql(sqlalchemy.text(ALL), connection)))
    with tries("`read_sql` with parameters"), engine.connect() as connection:
        asked = sqlalchemy.text("SELECT count(*) AS n FROM gpu WHERE time >= :since")
        same(pandas.read_sql(asked, connection, params={"since": TIMES[1]})["n"].tolist(), [8])
    with tries("`read_sql` in chunks"), engine.connect().execution_options(
        stream_results=True
    ) as connection:
        same(
            [len(chunk) for chunk in pandas.read_sql(sqlalchemy.text(ALL), connection, chunksize=5)],
            [5, 5, 2],
        )
    with tries("`read_sql_table`"), engine.connect() as connection:
        frame = pandas.read_sql_table("gpu", connection, columns=NAMES)
        same_rows(sorted(of_pandas(frame)), sorted(ROWS))
    with tries("`to_sql`", refused="SQL here only reads"), engine.connect() as connection:
        pandas.DataFrame({"a": [1]}).to_sql("t", connection)


def of_pandas(frame):
    """Rows of a frame, None for what is missing."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [
        tuple(v.to_pydatetime() if isinstance(v, pandas.Timestamp) else v for v in row)
        for row in plain.itertuples(index=False)
    ]


# ---------------------------------------------------------------- Arrow Flight SQL

FLIGHT = "Arrow Flight SQL"


def flight(token=None):
    header = {"adbc.flight.sql.authorization_header": bearer(token)}
    return adbc_driver_flightsql.dbapi.connect(flight_url(), db_kwargs=header, autocommit=True)


@client(FLIGHT, "ADBC Flight SQL")
def with_adbc(tries):
    tries.version(adbc_driver_flightsql.__version__)
    connection = flight()
    cursor = connection.cursor()

    def read(statement, parameters=None):
        cursor.execute(statement, parameters)
        return cursor.fetch_arrow_table()

    with tries("rows"):
        same_rows(zip(*read(ALL).to_pydict().values()))
    with tries("types of columns"):
        kinds = ["timestamp[us, tz=UTC]"] + ["string"] * 4 + ["int64", "int64", "double"]
        same([str(field.type) for field in read(ALL).schema], kinds)
    with tries("parameters of text, time, integer, double"):
        same(read(filters(), VALUES).columns[0].to_pylist(), [1])
    with tries("`adbc_prepare`, and the schema of parameters"):
        schema = cursor.adbc_prepare(COUNT + "gpu_temp = $1")
        same([str(field.type) for field in schema], ["int64"])
    with tries("`adbc_execute_schema`"):
        same(cursor.adbc_execute_schema(ALL).names, NAMES)
    with tries("parameters in what is selected"):
        got = read("SELECT $1::bigint + 1 AS a, $2 AS b, $3::text[] AS c", (1, "x", ["y", None]))
        same(got.to_pylist(), [{"a": 2, "b": "x", "c": ["y", None]}])
    with tries("an array as answer"):
        got = read(
            "SELECT array_agg(gpu ORDER BY gpu) AS a FROM gpu WHERE node = 'n1' AND gpu_temp = 30"
        )
        same(got.to_pylist(), [{"a": ["0", "1"]}])
    with tries("several rows of parameters", refused="NOT_IMPLEMENTED"):
        cursor.executemany(COUNT + "node = $1", [("n1",), ("n2",)])
    with tries("`adbc_get_objects`"):
        objects = (
            connection.adbc_get_objects(db_schema_filter="public", table_name_filter="gpu")
            .read_all()
            .to_pylist()
        )
        ((schema,),) = [catalog["catalog_db_schemas"] for catalog in objects]
        (table,) = schema["db_schema_tables"]
        same((table["table_name"], table["table_type"]), ("gpu", "TABLE"))
        same({column["column_name"] for column in table["table_columns"]}, set(NAMES))
    with tries("`adbc_get_table_schema`"):
        schema = connection.adbc_get_table_schema("gpu", db_schema_filter="public")
        same(sorted(schema.names), sorted(NAMES))
    with tries("`adbc_get_table_types`"):
        same(connection.adbc_get_table_types(), ["TABLE"])
    with tries("`adbc_get_info`"):
        same(connection.adbc_get_info()["vendor_name"], "warpline")
    many = pyarrow.table(
        {
            "time": pyarrow.array(
                [START + datetime.timedelta(microseconds=i) for i in range(MANY)],
                pyarrow.timestamp("us", "UTC"),
            ),
            "host": pyarrow.array([f"h{i % 7}" for i in range(MANY)]),
            "load": pyarrow.array(range(MANY), pyarrow.int64()),
        }
    )
    with tries("`adbc_ingest`, `create`"):
        same(cursor.adbc_ingest("many", many.slice(0, MANY // 2), mode="create"), MANY // 2)
    with tries("`adbc_ingest`, `create` of what is there", refused='table "many" exists: append to it'):
        cursor.adbc_ingest("many", many.slice(0, 1), mode="create")
    with tries("`adbc_ingest`, `append`"):
        same(cursor.adbc_ingest("many", many.slice(MANY // 2), mode="append"), MANY // 2)
    with tries("`adbc_ingest`, `create_append`"):
        same(cursor.adbc_ingest("many", many.slice(0, 1), mode="create_append"), 1)
    with tries(
        "`adbc_ingest`, `append` to what is not there",
        refused='table "nothing" does not exist: create it',
    ):
        cursor.adbc_ingest("nothing", many.slice(0, 1), mode="append")
    with tries("`adbc_ingest`, `replace`", refused="tables are not replaced"):
        cursor.adbc_ingest("many", many.slice(0, 1), mode="replace")
    with tries("200,000 rows, batch by batch"):
        cursor.execute("SELECT time, host, load FROM many")
        batches = list(cursor.fetch_record_batch())
        assert len(batches) > 1
        same(pyarrow.Table.from_batches(batches).sort_by("load").cast(many.schema), many)
    with tries("an answer that is given up"):
        cursor.execute("SELECT a.load FROM many a, many b")
        same(cursor.fetchone() is None, False)
        cursor.close()
    with tries("a column that is not there"), raises("INVALID_ARGUMENT"):
        connection.cursor().execute("SELECT nothing FROM gpu")
    with tries("`DELETE`", refused="SQL here only reads"):
        connection.cursor().execute("DELETE FROM gpu")
    with tries("a transaction", refused="does not report transaction support"):
        connection.adbc_connection.set_autocommit(False)
    with tries("no token", refused="nobody has this token"):
        flight("").cursor().execute("SELECT 1")
    with tries("a token of role `write`", refused="may not read"):
        flight(arguments.writer).cursor().execute("SELECT 1")


@client(FLIGHT, "Polars, with ADBC")
def with_polars_over_flight(tries):
    tries.version(polars.__version__)
    with tries("`read_database`"), flight() as connection:
        same_rows(polars.read_database(ALL, connection).rows())
    with tries("`read_database` with parameters"), flight() as connection:
        asked = "SELECT count(*) AS n FROM gpu WHERE node = $1"
        same(
            polars.read_database(asked, connection, execute_options={"parameters": ("n1",)})[
                "n"
            ].to_list(),
            [6],
        )
    with tries("`read_database` in batches"), flight() as connection:
        frames = polars.read_database("SELECT load FROM many", connection, iter_batches=True)
        same(sum(frame["load"].sum() for frame in frames), MANY * (MANY - 1) // 2)
    with tries("`write_database`"), flight() as connection:
        frame = polars.DataFrame({"time": TIMES, "host": ["a", "b", "c"], "load": [1, 2, 3]})
        frame.write_database("polars", connection, if_table_exists="append")
        same(polars.read_database("SELECT sum(load) AS s FROM polars", connection)["s"].to_list(), [6])


@client(FLIGHT, "pandas, with ADBC")
def with_pandas_over_flight(tries):
    tries.version(pandas.__version__)
    with tries("`read_sql`"), flight() as connection:
        frame = pandas.read_sql(ALL, connection, dtype_backend="pyarrow")
        same_rows(of_pandas(frame))
    with tries("`to_sql`"), flight() as connection:
        frame = pandas.DataFrame({"time": TIMES, "host": ["a", "b", "c"], "load": [1, 2, 3]})
        frame.to_sql("pandas", connection, if_exists="append", index=False)
        same(pandas.read_sql("SELECT sum(load) AS s FROM pandas", connection)["s"].tolist(), [6])


@client(FLIGHT, "pyarrow.flight")
def with_pyarrow_flight(tries):
    tries.version(pyarrow.__version__)
    one = pyarrow.table({"time": TIMES[:1], "host": ["a"], "load": [1]})
    with tries("`do_put`, told how many rows are durable"):
        same(put("put", one), [(1, 0, 0)])
        same(json.load(post("SELECT host, load FROM put", "application/json"))["rows"], [["a", 1]])
    with tries("`do_put` of a batch without a time", refused='the schema has no column "time"'):
        put("put", one.drop(["time"]))
    with tries("`do_put` without a token", refused="nobody has this token"):
        put("put", one, token="")


# ---------------------------------------------------------------- HTTP

HTTP = "HTTP"


@client(HTTP, "curl")
def with_curl(tries):
    program("curl")

    def sql(statement, *more, token=None):
        return curl("sql", "--data-binary", statement, *more, token=token)

    def in_json(row):
        return [row[0].isoformat().replace("+00:00", "Z"), *row[1:]]

    with tries("JSON"):
        status, body = sql(ALL)
        answer = json.loads(body)
        same((status, answer["rows"]), (200, [in_json(row) for row in ROWS]))
        short = {name: "timestamptz" if name == "time" else kind for name, kind in TYPES.items()}
        same({column["name"]: column["type"] for column in answer["columns"]}, short)
    with tries("CSV"):
        status, body = sql(ALL, "-H", "Accept: text/csv")
        header, *rows = csv.reader(io.StringIO(body))
        same((status, header), (200, NAMES))
        same_rows(map(of_text, rows))
    with tries("Arrow"):
        _, body = sql(ALL, "-H", f"Accept: {ARROW}")
        same_rows(zip(*pyarrow.ipc.open_stream(body).read_all().to_pydict().values()))
    with tries("`Accept` with several types"):
        same(sql("SELECT 1 AS a", "-H", "Accept: text/html, text/csv;q=0.9, */*;q=0.1"), (200, "a\n1\n"))
        same(json.loads(sql("SELECT 1 AS a", "-H", "Accept: */*")[1])["rows"], [[1]])
    with tries("the statement in a JSON document, with `time_zone`"):
        asked = json.dumps(
            {
                "sql": "SELECT date_trunc('hour', TIMESTAMPTZ '2026-01-01 00:15:00Z') AS t",
                "time_zone": "Asia/Kolkata",
            }
        )
        _, body = sql(asked, "-H", "Content-Type: application/json")
        same(json.loads(body)["rows"], [["2025-12-31T23:30:00Z"]])
    with tries("the token as password of `Basic`"):
        basic = base64.b64encode(f"any:{arguments.token}".encode()).decode()
        same(
            sql(
                "SELECT 1 AS a",
                "-H",
                f"Authorization: Basic {basic}",
                "-H",
                "Accept: text/csv",
                token="",
            ),
            (200, "a\n1\n"),
        )
    with tries("line protocol"):
        same(
            curl(
                "write?precision=ms",
                "--data-binary",
                f"lines,host=a load=1i {int(START.timestamp() * 1000)}",
            ),
            (204, ""),
        )
        same(
            json.loads(sql("SELECT host, load, time FROM lines")[1])["rows"],
            [["a", 1, START.isoformat().replace("+00:00", "Z")]],
        )
    for what, wanted, statement, token in (
        ("a table that is not there", (400, "42P01"), "SELECT * FROM nothing", None),
        ("no SQL", (400, "42601"), "SELEC 1", None),
        ("`DELETE`", (403, "25006"), "DELETE FROM gpu", None),
        ("no token", (401, None), "SELECT 1", ""),
        ("a token of role `write`", (403, None), "SELECT 1", arguments.writer),
    ):
        status, code = wanted
        with tries(what, refused=f"{status} {code}" if code else str(status)):
            status, body = sql(statement, token=token)
            if status != 200:
                raise RuntimeError(f"{status} {json.loads(body).get('code') if code else ''}")


@client(HTTP, "pyarrow")
def with_pyarrow(tries):
    tries.version(pyarrow.__version__)
    with tries("the stream of `/sql`"), post(ALL, ARROW) as answer:
        same_rows(zip(*pyarrow.ipc.open_stream(answer).read_all().to_pydict().values()))
    with tries("types of columns; tags are dictionaries"), post(ALL, ARROW) as answer:
        schema = pyarrow.ipc.open_stream(answer).schema
        same(str(schema.field("time").type), "timestamp[us, tz=UTC]")
        same(
            [pyarrow.types.is_dictionary(schema.field(name).type) for name in ("node", "model")],
            [True, True],
        )
        same([str(schema.field(name).type) for name in NAMES[5:]], ["int64", "int64", "double"])
    with tries("200,000 rows, batch by batch"), post("SELECT load FROM many", ARROW) as answer:
        sums = [pyarrow.compute.sum(batch["load"]).as_py() for batch in pyarrow.ipc.open_stream(answer)]
        assert len(sums) > 1
        same(sum(sums), MANY * (MANY - 1) // 2)


@client(HTTP, "DuckDB")
def with_duckdb(tries):
    tries.version(duckdb.__version__)
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    with tries("over the Arrow stream of pyarrow"), post(ALL, ARROW) as answer:
        stream = pyarrow.ipc.open_stream(answer)  # DuckDB finds it by its name.
        same_rows(db.execute(f"SELECT {', '.join(NAMES)} FROM stream").fetchall())


@client(HTTP, "Polars")
def with_polars(tries):
    tries.version(polars.__version__)
    with tries("`read_ipc_stream`"), post(ALL, ARROW) as answer:
        same_rows(polars.read_ipc_stream(answer.read()).rows())
    with tries("`read_csv`"), post(ALL, "text/csv") as answer:
        frame = polars.read_csv(
            answer.read(), schema_overrides={"gpu": polars.String}, try_parse_dates=True
        )
        same_rows(frame.rows())


@client(HTTP, "pandas")
def with_pandas_over_http(tries):
    tries.version(pandas.__version__)
    with tries("`read_csv`"), post(ALL, "text/csv") as answer:
        frame = pandas.read_csv(answer, parse_dates=["time"], dtype={"gpu": str, "gpu_temp": "Int64"})
        same_rows(of_pandas(frame))


# ---------------------------------------------------------------- the page

INTRODUCTION = """\
# Clients

What other people's programs can do with a server that has [tokens](operating.md#tokens-and-tls). `tests/clients/table.py` tries it on rows that it has written before, compares the answers with them, and writes this page; `tests/run` fails where the page is not true any more.

`refused` is what [SQL](sql.md) says is not to be had, in words of the error. `not served` is a gap, and names what the client asks for.
"""


def page():
    text = INTRODUCTION
    for protocol in (WIRE, FLIGHT, HTTP):
        text += f"\n## {protocol}\n\n| client | tried | result |\n|---|---|---|\n"
        for tried in clients:
            if tried.protocol != protocol:
                continue
            name, _, through = tried.name.partition(", ")
            name = ", ".join(filter(None, [f"{name} {tried.version}".strip(), through]))
            for what, result in [("; ".join(tried.answered), "ok"), *tried.otherwise]:
                text += f"| {name} | {cell(what)} | {cell(result)} |\n"
                name = ""
    return text


def cell(text):
    return text.replace("|", "\\|")


parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("port", type=int)
parser.add_argument("name")
parser.add_argument("token")
parser.add_argument("--writer", required=True)
parser.add_argument("--node", default=pathlib.Path(__file__).parents[2] / "target" / "clients" / "node")
parser.add_argument("--write", type=pathlib.Path)
arguments = parser.parse_args()

faulthandler.dump_traceback_later(200, exit=True)
write_rows()
for run in every:
    run()
for line in not_tested:
    print(f"NOT TESTED: {line}")
if wrong:
    sys.exit("\n".join(wrong))
if arguments.write and not not_tested:
    arguments.write.write_text(page())
print(f"{len(clients)} clients, {sum(len(c.answered) + len(c.otherwise) for c in clients)} trials")
