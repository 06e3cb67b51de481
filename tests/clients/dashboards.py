"""The dashboards of docs/grafana, asked as Grafana asks:

    dashboards.py HOST PORT FROM TO [--intervals 10s 1h ...] [--rounds N]

Each variable is resolved by its own query, each panel's SQL expanded as Grafana's PostgreSQL data
source does it and run over FROM..TO and over the last twelfth of it, with the bucket that Grafana
would choose and with those of --intervals; each dashboard --rounds times in a row, as when it is
refreshed. An answer must be what its kind of panel needs, in the range of its unit, and some must
equal what a second statement says. The JSON is checked too: ids, places, units, variables, links.
FROM and TO are RFC 3339. Prints a line per panel: dashboard, panel, range and bucket, rows,
milliseconds, how the plan reads. Exits 1 with panel, SQL and error.
"""

import argparse
import collections
import dataclasses
import datetime
import json
import math
import pathlib
import re
import sys
import time
import urllib.parse

import psycopg

GRAFANA = pathlib.Path(__file__).resolve().parents[2] / "docs" / "grafana"
UTC = datetime.timezone.utc
KINDS = {"stat", "table", "timeseries"}
# Unit ids of Grafana, with the least and the largest value that a GPU fleet's panel may show.
UNITS = {
    "none": (0, 1e12), "short": (0, 1e12), "percentunit": (-1, 1.001), "celsius": (0, 120),
    "watt": (0, 1e9), "kwatth": (0, 1e9), "mbytes": (0, 1e6), "MBs": (0, 1e7), "Bps": (0, 1e13),
    "hertz": (0, 1e10), "s": (0, 1e8), "dtdurations": (0, 1e8),
}
NUMBERS = {20, 21, 23, 700, 701, 1700}
TEXTS = {25, 1042, 1043}
TIMES = {1082, 1114, 1184}
# Panels whose rows neither the kernel nor the memory of last rows gives: they read one GPU's.
SCANS = {("gpu", "Power, every peak")}
# Rows that a panel can show and a browser can hold.
MOST_ROWS = 10_000


class Failed(Exception):
    pass


def need(condition, message):
    if not condition:
        raise Failed(message)


@dataclasses.dataclass
class Range:
    start: datetime.datetime
    end: datetime.datetime

    def seconds(self):
        return (self.end - self.start).total_seconds()


# What Grafana does to a statement.

SPANS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
# Intervals in milliseconds that are taken below these bounds.
ROUNDED = [
    (10, 1), (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500), (1500, 1000),
    (3500, 2000), (7500, 5000), (12500, 10000), (17500, 15000), (25000, 20000), (45000, 30000),
    (90000, 60000), (210000, 120000), (450000, 300000), (750000, 600000), (1050000, 900000),
    (1500000, 1200000), (2700000, 1800000), (5400000, 3600000), (9000000, 7200000),
    (16200000, 10800000), (32400000, 21600000), (86400000, 43200000), (604800000, 86400000),
    (1814400000, 604800000), (3628800000, 2592000000),
]


def milliseconds(text):
    number, unit = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|[smhdwy])", text.strip().strip("'\"")).groups()
    return round(float(number) * SPANS[unit] * 1000)


def interval_text(ms):
    for unit in "ydhms":
        if ms >= SPANS[unit] * 1000:
            return f"{int(ms // (SPANS[unit] * 1000))}{unit}"
    return f"{ms}ms"


def chosen_interval(over, points, least):
    wanted = over.seconds() * 1000 / points
    rounded = next((value for bound, value in ROUNDED if wanted < bound), 31536000000)
    return max(rounded, least)


def go_float(number):
    """As Go prints a float64 with %v: 300, 0.5, 1.0368e+06."""
    if 1e-4 <= number < 1e6:
        return f"{number:.15g}"
    mantissa, exponent = f"{number:.15e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


def rfc3339(moment):
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"'{text}Z'"


def filled(text, values):
    """Variables in their places: ${name:format}, ${name} and $name."""

    def value(match):
        name, form = match["braced"] or match["plain"], match["form"]
        if name.startswith("__") or name not in values:
            return match[0]
        chosen = values[name]
        if form == "sqlstring":
            return ",".join("'" + each.replace("'", "''") + "'" for each in chosen)
        need(form in (None, "raw"), f"format {form} of {name}")
        need(len(chosen) == 1, f"{name} has several values and no format")
        return chosen[0]

    pattern = r"\$(?:\{(?P<braced>\w+)(?::(?P<form>\w+))?\}|(?P<plain>\w+))"
    return re.sub(pattern, value, text)


def expanded(text, over, ms):
    """Interval and macros, in the order of Grafana's data source."""
    start, end = (math.floor(moment.timestamp()) for moment in (over.start, over.end))
    text = text.replace("$__interval_ms", str(ms)).replace("$__interval", interval_text(ms))
    text = text.replace("$__unixEpochFrom()", str(start)).replace("$__unixEpochTo()", str(end))

    def group(arguments):
        width = go_float(milliseconds(arguments[1]) / 1000)
        return f"floor(extract(epoch from {arguments[0]})/{width})*{width}"

    def macro(match):
        name, arguments = match[1], [argument.strip(" ") for argument in match[2].split(",")]
        # As in Grafana: before a comma the bucket is a column of the answer.
        after = text.find(match[0]) + len(match[0])
        if name == "__timeGroup" and text[after : after + 1] == ",":
            name = "__timeGroupAlias"
        if name == "__timeFilter":
            return f"{arguments[0]} BETWEEN {rfc3339(over.start)} AND {rfc3339(over.end)}"
        if name == "__timeGroup":
            return group(arguments)
        if name == "__timeGroupAlias":
            return f'{group(arguments)} AS "time"'
        whole = {"__timeFrom": rfc3339(over.start), "__timeTo": rfc3339(over.end)}
        need(name in whole, f"a macro that is not known here: {name}")
        return whole[name]

    return re.sub(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)", macro, text)


# The dashboards themselves.


def overrides(panel):
    found = {}
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        need(matcher["id"] == "byName", f"matcher {matcher}")
        found[matcher["options"]] = {each["id"]: each["value"] for each in override["properties"]}
    return found


def links_in(value):
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            yield value["url"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from links_in(each)


def check_link(url, dashboards):
    path, _, query = url.partition("?")
    need(path.startswith("/d/"), f"link {url} is to no dashboard")
    uid = path.removeprefix("/d/")
    need(uid in dashboards, f"link to {uid}, which is no dashboard")
    names = {variable["name"] for variable in dashboards[uid]["templating"]["list"]}
    taken = [name for name, _ in urllib.parse.parse_qsl(query) if name.startswith("var-")]
    taken += [f"var-{name}" for name in re.findall(r"\$\{(\w+):queryparam\}", query)]
    for name in taken:
        need(name.removeprefix("var-") in names, f"{uid} has no variable of link {url}")


def check_panel(panel, variables):
    need(panel["type"] in KINDS, f"type {panel['type']}")
    need(len(panel["description"]) > 20, "no description")
    need(panel["datasource"]["uid"] == "${datasource}", "a data source of its own")
    units = [panel["fieldConfig"]["defaults"].get("unit")]
    units += [properties.get("unit") for properties in overrides(panel).values()]
    for unit in filter(None, units):
        need(unit in UNITS, f"unit {unit}")
    names = [target["refId"] for target in panel["targets"]]
    need(len(names) == len(set(names)) and names, "targets without names of their own")
    for target in panel["targets"]:
        need(target["datasource"] == panel["datasource"], "a target with another data source")
        wanted = "time_series" if panel["type"] == "timeseries" else "table"
        need(target["format"] == wanted, f"format {target['format']}")
        used = re.findall(r"\$\{?(\w+)", target["rawSql"] + panel["title"])
        for name in used:
            need(name.startswith("__") or name in variables, f"no variable {name}")


def check_places(panels):
    cells = {}
    for panel in panels:
        place = panel["gridPos"]
        need(place["x"] + place["w"] <= 24, f"{panel['title']} leaves the grid")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = cells.setdefault((x, y), panel["title"])
                need(other == panel["title"], f"{panel['title']} lies over {other}")


def check_structure(dashboard, dashboards):
    need(dashboard["schemaVersion"] >= 39 and dashboard["title"] and dashboard["tags"], "a head")
    need(dashboard["time"]["to"] == "now" and "refresh" in dashboard, "no time or refresh")
    panels = dashboard["panels"]
    need([panel["id"] for panel in panels] == list(range(1, len(panels) + 1)), "ids in order")
    titles = [panel["title"] for panel in panels]
    need(len(set(titles)) == len(titles), "two panels of one title")
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    check_places(panels)
    for panel in panels:
        try:
            check_panel(panel, variables)
        except (Failed, KeyError) as reason:
            raise Failed(f"{panel.get('title')}: {reason!r}") from reason
    for link in dashboard["links"]:
        tagged = [d for d in dashboards.values() if set(link["tags"]) <= set(d["tags"])]
        need(len(tagged) == len(dashboards), f"links by tag find {len(tagged)} dashboards")
    for url in links_in(panels):
        check_link(url, dashboards)


# Answers.


@dataclasses.dataclass
class Answer:
    names: list
    types: list
    rows: list
    ms: float

    def column(self, name):
        index = self.names.index(name)
        return [row[index] for row in self.rows]

    def of(self, types):
        return [name for name, oid in zip(self.names, self.types) if oid in types]


class Server:
    def __init__(self, host, port):
        where = f"host={host} port={port} user=warpline dbname=postgres sslmode=disable"
        self.connection = psycopg.connect(where, autocommit=True)

    def ask(self, statement):
        try:
            began = time.perf_counter()
            cursor = self.connection.execute(statement)
            rows = cursor.fetchall()
            ms = (time.perf_counter() - began) * 1000
        except psycopg.Error as error:
            raise Failed(str(error)) from error
        described = [(column.name, column.type_code) for column in cursor.description]
        names, types = zip(*described)
        return Answer(list(names), list(types), rows, ms)

    def plan(self, statement):
        """What the rows of a statement come from."""
        lines = "\n".join(row[1] for row in self.ask(f"EXPLAIN {statement}").rows)
        if "DownsampleExec" in lines:
            tiers = sorted(set(re.findall(r"rollup=(_\w+)", lines)))
            return " ".join(["kernel", *tiers])
        if "StreamingTableExec" in lines:
            return "memory"
        return "scan"


def named(dashboard):
    return dashboard["uid"].removeprefix("warpline-")


def resolved(server, dashboard, over):
    """Values of the variables, as on opening the dashboard: the first, or all."""
    values = {}
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        if variable["type"] == "custom":
            values[name] = [variable["current"]["value"]]
        elif variable["type"] == "query":
            text = expanded(filled(variable["query"], values), over, 1000)
            answer = attempt(server, dashboard, f"variable {name}", text, over)
            found = [shown(row[0]) for row in answer.rows if row[0] is not None]
            need(found, f"variable {name} has no values: {text}")
            values[name] = found if variable["multi"] else found[:1]
    return values


def shown(value):
    """A number as a browser writes it."""
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def attempt(server, dashboard, what, statement, over, detail=""):
    try:
        answer = server.ask(statement)
        plan = server.plan(statement)
    except Failed as reason:
        raise Failed(f"{what}: {reason}\n{statement}") from reason
    label = f"{round(over.seconds() / 60)}m {detail}"
    told = f"{label:10} {len(answer.rows):6} rows {answer.ms:8.1f} ms  {plan}"
    print(f"{named(dashboard):8} {what:28} {told}")
    fast = plan != "scan" or (named(dashboard), what) in SCANS
    need(fast, f"{what}: read by neither kernel nor from memory\n{statement}")
    return answer


def check_values(panel, answer):
    """Every number lies where its unit may."""
    defaults, by_name = panel["fieldConfig"]["defaults"], overrides(panel)
    for name in by_name:
        need(name in answer.names, f"an override of {name}, which is no column of {answer.names}")
    for name in answer.of(NUMBERS):
        if name == "time":
            continue
        unit = by_name.get(name, {}).get("unit", defaults.get("unit", "none"))
        low, high = UNITS[unit]
        for value in answer.column(name):
            sound = value is None or (math.isfinite(value) and low <= value <= high)
            need(sound, f"{name} is {value}, which no {unit} is")


def seconds_of(moment):
    return moment.timestamp() if isinstance(moment, datetime.datetime) else float(moment)


def check_series(answer, over, ms):
    """What Grafana makes series of: sorted times, numbers, and labels that tell them apart."""
    need("time" in answer.names, f"no column time in {answer.names}")
    kind = answer.types[answer.names.index("time")]
    need(kind in TIMES | NUMBERS, f"time has type {kind}")
    values = [name for name in answer.of(NUMBERS) if name != "time"]
    labels = answer.of(TEXTS)
    need(values, f"no number in {answer.names}")
    need(len(values) + len(labels) + 1 == len(answer.names), f"types {answer.types}")
    need(not labels or labels == ["metric"] and len(values) == 1, f"labels {labels}")
    times = answer.column("time")
    need(None not in times, "a time is NULL")
    times = [seconds_of(moment) for moment in times]
    need(times == sorted(times), "times are not sorted")
    keys = list(zip(times, answer.column("metric"))) if labels else times
    need(len(set(keys)) == len(keys), "two rows of one series and time")
    if labels:
        need(all(answer.column("metric")), "a series has no name")
    inside = over.start.timestamp() - ms / 1000 <= times[0] and times[-1] <= over.end.timestamp()
    need(inside, f"times {times[0]} to {times[-1]} leave the range")


def check_table(panel, answer):
    need(len(answer.names) == len(set(answer.names)), f"two columns of one name: {answer.names}")
    if panel["type"] == "stat":
        need(len(answer.rows) == 1 and answer.of(NUMBERS), "a stat is one row of numbers")
        need(None not in answer.rows[0], f"a number is missing: {answer.rows[0]}")


def check_answer(panel, answer, over, ms):
    if not answer.rows:
        need("noValue" in panel["fieldConfig"]["defaults"], "no rows")
        return
    need(len(answer.rows) <= MOST_ROWS, f"{len(answer.rows)} rows")
    check_values(panel, answer)
    if panel["type"] == "timeseries":
        check_series(answer, over, ms)
    else:
        check_table(panel, answer)


# Answers that a second, plainer statement must confirm.

ROWS = "FROM gpu WHERE $__timeFilter(time)"
GPUS = f"(SELECT count(*) FROM (SELECT DISTINCT cluster, node, gpu {ROWS}) AS gpus)"


def total(name):
    return lambda answer, second: (sum(answer.column(name)), second.rows[0][0])


def largest(name):
    return lambda answer, second: (max(answer.column(name)), second.rows[0][0])


def mean_of_sums(name):
    """The mean over the panel's buckets, of the sums over its series and of the second's values."""

    def of(answer, second):
        sums = collections.defaultdict(float)
        for moment, value in zip(answer.column("time"), answer.column(name)):
            sums[moment] += value
        wanted = dict(second.rows)
        return mean(sums.values()), mean(wanted[moment] for moment in sums)

    return of


def mean(values):
    values = list(values)
    return sum(values) / len(values)


# Near is what one node of sixteen, down for the time of a reboot, does not spoil.
SAME, NEAR = 1e-9, 0.1
ONE_GPU = " AND ".join(f"{tag} = ${{{tag}:sqlstring}}" for tag in ("cluster", "node", "gpu"))
BY_BUCKET = "SELECT $__timeGroupAlias(time, $__interval),"
AT_ONCE = "count(DISTINCT concat(cluster, node, gpu))"
GPUS_AT_ONCE = f"{BY_BUCKET} {AT_ONCE} {ROWS} GROUP BY 1"
FLEET_WATTS = f"{BY_BUCKET} avg(power_usage) * {AT_ONCE} {ROWS} GROUP BY 1"
HOTTEST = f"SELECT max(gpu_temp) {ROWS}"
ENERGY = f"SELECT increase(total_energy_consumption) / 3.6e9 {ROWS}"
WATTS_TIMES_HOURS = f"""SELECT avg(power_usage) * {GPUS}
    * extract(epoch FROM max(time) - min(time)) / 3.6e6 {ROWS}"""
# Of a dashboard's panel: a number of its answer, the statement that says what it is, how near.
CONFIRMED = {
    "fleet": {
        "Now": (total("Reporting"), f"SELECT {GPUS}", NEAR),
        "Power by ${by}": (mean_of_sums("watts"), FLEET_WATTS, NEAR),
        "GPUs reporting and busy": (largest("reporting"), f"SELECT {GPUS}", SAME),
        "Temperature": (largest("hottest GPU"), HOTTEST, SAME),
    },
    "gpu": {
        "Power, every peak": (
            largest("power"), f"SELECT max(power_usage) {ROWS} AND {ONE_GPU}", SAME
        ),
    },
    "power": {
        "In the range": (total("Energy"), WATTS_TIMES_HOURS, NEAR),
        "Power by ${by}": (mean_of_sums("watts"), FLEET_WATTS, NEAR),
        "Power of a GPU": (largest("highest"), f"SELECT max(power_usage) {ROWS}", NEAR),
        "Temperature of a GPU": (largest("hottest"), HOTTEST, SAME),
        "By ${by}": (total("energy"), ENERGY, SAME),
        "Hottest GPUs": (largest("heat"), HOTTEST, SAME),
    },
    "usage": {
        "In the range": (total("Energy"), ENERGY, SAME),
        "GPUs held, by tenant": (mean_of_sums("gpus"), GPUS_AT_ONCE, NEAR),
        "Power, by tenant": (mean_of_sums("watts"), FLEET_WATTS, NEAR),
        "Tenants": (total("hours"), f"SELECT count(*) * $step / 3600.0 {ROWS}", SAME),
    },
}


def confirm(server, dashboard, panel, answer, values, over, ms):
    check = CONFIRMED.get(named(dashboard), {}).get(panel["title"])
    if check is None:
        return
    number, statement, near = check
    statement = expanded(filled(statement, values), over, ms)
    got, wanted = number(answer, server.ask(statement))
    need(math.isclose(got, wanted, rel_tol=near), f"{got}, but {wanted} by\n{statement}")


def least_interval():
    """The data source's own, for panels that have none."""
    text = (GRAFANA / "provisioning" / "datasources" / "warpline.yaml").read_text()
    return re.search(r"timeInterval: (\w+)", text)[1]


def run_panel(server, dashboard, panel, values, over, ms):
    for target in panel["targets"]:
        statement = expanded(filled(target["rawSql"], values), over, ms)
        answer = attempt(server, dashboard, panel["title"], statement, over, interval_text(ms))
        try:
            check_answer(panel, answer, over, ms)
            confirm(server, dashboard, panel, answer, values, over, ms)
        except Failed as reason:
            raise Failed(f"{panel['title']}: {reason}\n{statement}") from reason


def run_dashboard(server, dashboard, over, intervals):
    values = resolved(server, dashboard, over)
    for panel in dashboard["panels"]:
        points = panel.get("maxDataPoints", panel["gridPos"]["w"] * 60)
        least = milliseconds(panel.get("interval", least_interval()))
        widths = [chosen_interval(over, points, least)]
        if panel["type"] == "timeseries":
            widths += [ms for ms in intervals if least <= ms < over.seconds() * 250]
        for ms in dict.fromkeys(widths):
            run_panel(server, dashboard, panel, values, over, ms)


def run_choices(server, dashboard, over, columns):
    """The other values of custom variables; names of columns that the table lacks are left out."""
    values = resolved(server, dashboard, over)
    for variable in dashboard["templating"]["list"]:
        for option in variable.get("options", [])[1:]:
            if option["value"].isidentifier() and option["value"] not in columns:
                continue
            chosen = values | {variable["name"]: [option["value"]]}
            for panel in dashboard["panels"]:
                if any(f"{{{variable['name']}:" in target["rawSql"] for target in panel["targets"]):
                    ms = chosen_interval(over, 120, milliseconds(panel.get("interval", "10s")))
                    run_panel(server, dashboard, panel, chosen, over, ms)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port")
    parser.add_argument("start", metavar="FROM", type=datetime.datetime.fromisoformat)
    parser.add_argument("end", metavar="TO", type=datetime.datetime.fromisoformat)
    parser.add_argument("--intervals", nargs="*", default=[], type=milliseconds)
    parser.add_argument("--rounds", default=1, type=int)
    given = parser.parse_args()
    server = Server(given.host, given.port)
    long = Range(given.start, given.end)
    short = Range(given.end - (given.end - given.start) / 12, given.end)
    files = sorted((GRAFANA / "dashboards").glob("*.json"))
    dashboards = {d["uid"]: d for d in (json.loads(file.read_text()) for file in files)}
    need(len(files) == len(dashboards) > 0, f"{len(files)} files of dashboards")
    columns = set(server.ask("SELECT * FROM gpu LIMIT 0").names)
    for dashboard in dashboards.values():
        try:
            check_structure(dashboard, dashboards)
            for over in (short, long) * given.rounds:
                run_dashboard(server, dashboard, over, given.intervals)
            run_choices(server, dashboard, long, columns)
        except Failed as reason:
            sys.exit(f"{dashboard['uid']}: {reason}")
    panels = sum(len(dashboard["panels"]) for dashboard in dashboards.values())
    print(f"{len(dashboards)} dashboards, {panels} panels")


if __name__ == "__main__":
    main()
