"""The recipes of docs/offline.md, run and compared: recipes.py STORE_URL [...] [--postgres PORT]

Runs every block of SQL and Python of the page against each store, in the page's order. The words
after a block's language say in which programs it runs (PROGRAMS), and on which stores alone
(`folder`, `s3`). Without such words SQL runs in every program that speaks it, Python in all. Each
program has a session of its own. What answers one question must agree: numbers exactly, doubles to
fourteen digits; with a port also with the SQL of the store's server, over raw rows alone. No rows
may be on their way. Prints a line per question with the programs whose recipes agree.

The store is one that `warpline simulate` filled. For stores on S3 the usual variables count;
WARPLINE_TEST_S3, the URL of an S3 test server, sets those that are missing.
"""

import argparse
import ast
import dataclasses
import datetime
import decimal
import importlib.util
import math
import os
import pathlib
import re
import sys

import psycopg

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "offline.md"
PROGRAMS = ("duckdb", "datasets", "polars", "pandas", "spark")
SPEAK_SQL = ("duckdb", "datasets", "spark")
# Modules that a block may want and an environment may lack, and what it says then.
OPTIONAL = {"pandas": r"to_pandas|\.df\(\)", "duckdb_extension_httpfs": "duckdb_extension_httpfs"}
UTC = datetime.timezone.utc
DIGITS = 1e-14

NOTHING = "nothing"

# What the server is asked, by the first words of a question. Rollups end before the last rows.
SERVER = {
    "How far does each table reach": NOTHING,
    "Of the hours that a tenant": """
        SELECT tenant, count(*) / 60.0, count(*) FILTER (WHERE busiest < 5) / 60.0 FROM (
            SELECT tenant, max(gpu_util) AS busiest FROM gpu
            WHERE tenant IS NOT NULL AND time < '{gpu_1m}'
            GROUP BY tenant, cluster, node, gpu, date_bin(INTERVAL '1 minute', time)
        ) AS minutes GROUP BY tenant""",
    "What energy did each node": """
        SELECT node, CAST(date_trunc('day', time) AS date) AS day,
            increase(total_energy_consumption) / 3.6e9
        FROM gpu WHERE time < '{gpu_1h}' GROUP BY cluster, node, day""",
    "Which five GPUs": """
        SELECT node, gpu, max(gpu_temp) AS celsius FROM gpu WHERE time >= '{day}' AND time < '{gpu_1h}'
        GROUP BY cluster, node, gpu ORDER BY celsius DESC, node, gpu LIMIT 5""",
    "What did one GPU do": """
        SELECT time, gpu_util, power_usage, total_energy_consumption FROM gpu WHERE node = 'node-00000'
        AND gpu = '0' AND time < '{until}' AND time >= '{until}'::timestamptz - INTERVAL '1 hour'""",
    "What power did each tenant": """
        SELECT tenant, date_bin(INTERVAL '1 hour', time) AS hour, avg(power_usage)
        FROM gpu WHERE tenant IS NOT NULL AND time < '{gpu_1h}' GROUP BY tenant, hour""",
    "How many samples has each tenant": """
        SELECT tenant, count(*), avg(fb_used) FROM gpu WHERE time < '{until}' GROUP BY tenant""",
    "How many samples has each GPU": """
        SELECT cluster, node, gpu, count(*), avg(power_usage), max(time)
        FROM gpu GROUP BY cluster, node, gpu""",
}


@dataclasses.dataclass
class Block:
    """A fenced block of the page; `question` is None where it is part of a set-up."""

    question: str
    title: str
    language: str
    words: list
    text: str
    line: int

    def programs(self):
        named = [word for word in self.words if word in PROGRAMS]
        return named or (SPEAK_SQL if self.language == "sql" else PROGRAMS)

    def is_for(self, store):
        on_s3 = store.startswith("s3://")
        return ("folder" if on_s3 else "s3") not in self.words

    def missing(self):
        """A module that it wants and that is not there."""
        wanted = (module for module, sign in OPTIONAL.items() if re.search(sign, self.text))
        return next((module for module in wanted if not importlib.util.find_spec(module)), None)


def blocks_of(page):
    found, section, title = [], "", ""
    for part in re.finditer(r"^(#+) ([^\n]+)$|^```([^\n]*)\n(.*?)^```$", page, re.M | re.S):
        level, heading, info, text = part.groups()
        if level:
            section, title = (heading, heading) if len(level) < 3 else (section, heading)
            continue
        language, *words = info.split() or [""]
        if language in ("sql", "python"):
            unknown = set(words) - {*PROGRAMS, "folder", "s3"}
            assert not unknown, f"the page has blocks for {unknown}"
            question = title if section == "Questions" else None
            line = page.count("\n", 0, part.start()) + 1
            found.append(Block(question, title, language, words, text, line))
    return found


def run_python(block, session):
    """The value of the last line of a question's block."""
    tree = ast.parse(block.text)
    ast.increment_lineno(tree, block.line)
    answer = tree.body.pop() if block.question else None
    exec(compile(tree, PAGE, "exec"), session)
    return answer and eval(compile(ast.Expression(answer.value), PAGE, "eval"), session)


def run_sql(block, program, session):
    if program == "spark":
        return session["spark"].sql(block.text)
    return session["db"].execute(block.text).fetchall()


def rows_of(answer):
    """What any program answers with, as sorted rows of plain values."""
    if hasattr(answer, "itertuples"):
        answer = answer.itertuples(index=False, name=None)
    elif hasattr(answer, "collect"):
        answer = answer.collect()
    elif hasattr(answer, "rows"):
        answer = answer.rows()
    rows = [tuple(map(plain, row)) for row in answer]
    told_apart = lambda row: [str(v) for v in row if not isinstance(v, (float, decimal.Decimal))]
    return sorted(rows, key=told_apart)


def plain(value):
    """None for every kind of absence, and times in UTC; Spark's are local ones."""
    if type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    if isinstance(value, datetime.datetime):
        value = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
        return value.astimezone(UTC)
    return value.item() if hasattr(value, "item") else value


def agree(one, other):
    if None in (one, other):
        return one is other
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=DIGITS)
    return one == other


def asked_of_server(question):
    return next((text for words, text in SERVER.items() if question.startswith(words)), None)


def same(what, got, wanted):
    if len(got) != len(wanted):
        sys.exit(f"{what}: {len(got)} rows, wanted {len(wanted)}\n{got[:5]}\n{wanted[:5]}")
    for one, other in zip(got, wanted):
        if len(one) != len(other) or not all(map(agree, one, other)):
            sys.exit(f"{what}: got\n{one}, wanted\n{other}")


class Store:
    """One store, the sessions of all programs over it, and the server if there is one."""

    def __init__(self, url, server):
        self.url, self.server = url, server
        self.sessions = {program: {} for program in PROGRAMS}
        self.answers, self.known = {}, {}

    def run(self, blocks):
        for block in filter(lambda block: block.is_for(self.url), blocks):
            tried = [program for program in block.programs() if program in self.sessions]
            for program in tried:
                self.run_in(block, program)
        for question, answers in self.answers.items():
            self.compare(question, answers)
        if self.server and "duckdb" in self.sessions:
            self.compare_rows()

    def run_in(self, block, program):
        if module := block.missing():
            print(f"{self.url}, {program}: NOT TRIED without {module}: {block.title} (line {block.line})")
            if not block.question:
                del self.sessions[program]
            return
        session = self.sessions[program]
        try:
            if block.language == "sql":
                answer = run_sql(block, program, session)
            else:
                answer = run_python(block, session)
        except Exception:
            print(f"{self.url}, {program}: the block at {PAGE.name}:{block.line} failed", file=sys.stderr)
            raise
        if block.question:
            rows = rows_of(answer)
            assert rows, f"{program} has no answer to: {block.question}"
            self.answers.setdefault(block.question, {})[program] = rows
            self.know(block.question, session, rows)

    def know(self, question, session, rows):
        """Times up to which the server is asked."""
        if question.startswith("How far"):
            self.known = dict(rows) | {"until": session["until"]}
            self.known["day"] = (self.known["gpu_1h"] - datetime.timedelta(seconds=1)).date()

    def compare(self, question, answers):
        asked = asked_of_server(question)
        if self.server and asked != NOTHING:
            answers = {"server": rows_of(self.ask(asked.format(**self.known)))} | answers
        first, *others = answers
        for program in others:
            same(f"{self.url}, {question} {program} and {first}", answers[program], answers[first])
        print(f"{self.url}: {question} {len(answers[first])} rows: {', '.join(answers)}")

    def ask(self, text):
        return self.server.execute(text).fetchall()

    def compare_rows(self):
        """Resolved rows, column by column."""
        columns = """SELECT column_name FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name = 'gpu'"""
        names = ", ".join(f'"{name}"' for (name,) in self.ask(columns))
        asked = f"SELECT {names} FROM {{}} WHERE time >= '{self.known['until'].isoformat()}'"
        got = self.sessions["duckdb"]["db"].execute(asked.format("resolved")).fetchall()
        wanted = rows_of(self.ask(asked.format("gpu")))
        same(f"{self.url}, rows after {self.known['until']}", rows_of(got), wanted)
        print(f"{self.url}: {len(wanted)} rows that were not settled agree in every column")


def small_spark():
    """The session that the page's own builder then finds."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2")
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    # Little is computed, and nothing twice: compiling it well costs more than it saves.
    builder = builder.config("spark.sql.codegen.wholeStage", "false")
    builder = builder.config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1")
    builder.config("spark.driver.memory", "768m").getOrCreate()


def ready_for(store):
    """Sets what the recipes take from the environment."""
    os.environ["STORE"] = store
    server = os.environ.get("WARPLINE_TEST_S3")
    if store.startswith("s3://") and server:
        usual = {"ENDPOINT_URL": server, "REGION": "us-east-1", "ALLOW_HTTP": "true"}
        usual |= {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}
        for name, value in usual.items():
            os.environ.setdefault(f"AWS_{name}", value)


def connect(port):
    where = f"host=127.0.0.1 port={port} user=warpline dbname=postgres"
    server = psycopg.connect(where, autocommit=True)
    server.execute("SET warpline.rollups = off")
    return server


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--postgres", help="port of the stores' server on this machine")
    arguments = parser.parse_args()
    blocks = blocks_of(PAGE.read_text())
    for question in {block.question for block in blocks if block.question}:
        assert asked_of_server(question), f"what is the server asked for: {question}"
    server = connect(arguments.postgres) if arguments.postgres else None
    small_spark()
    for url in arguments.stores:
        ready_for(url)
        Store(url, server).run(blocks)


main()
