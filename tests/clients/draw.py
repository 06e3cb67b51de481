"""Draws docs/grafana/hour.png: draw.py HOST PORT FILE

The last whole hour of `gpu`: the fleet's power by tenant, and the temperature of its GPUs. Both
come from statements of the dashboards' shape. Needs psycopg and matplotlib (`pip install
matplotlib`, which no test needs).
"""

import datetime
import sys

import matplotlib
import psycopg

matplotlib.use("agg")
import matplotlib.dates
import matplotlib.pyplot

UTC = datetime.timezone.utc
HOUR = "time >= {end} - INTERVAL '61 minutes' AND time < {end}"
# A counter's step belongs to its later row, so the first minute is one that is not shown.
POWER = """
SELECT time_bucket('1 minute', time) AS minute, tenant,
       increase(total_energy_consumption) / 60.0 / 1e6 AS kilowatts
FROM gpu WHERE {hour} GROUP BY 1, tenant ORDER BY 1
"""
HEAT = """
SELECT minute, percentile_cont(0.05) WITHIN GROUP (ORDER BY heat),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY heat),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY heat), max(heat)
FROM (
  SELECT time_bucket('1 minute', time) AS minute, cluster, node, gpu, max(gpu_temp) AS heat
  FROM gpu WHERE {hour} GROUP BY 1, 2, 3, 4
) AS gpus
GROUP BY 1 ORDER BY 1
"""
SHOWN = 7


def asked(connection):
    end = connection.execute("SELECT date_trunc('minute', max(time)) FROM latest.gpu").fetchone()[0]
    hour = HOUR.format(end=f"TIMESTAMPTZ '{end.astimezone(UTC).isoformat()}'")
    gpus = connection.execute("SELECT count(*) FROM latest.gpu").fetchone()[0]
    power, heat = (
        connection.execute(text.format(hour=hour)).fetchall() for text in (POWER, HEAT)
    )
    first = min(row[0] for row in power)
    return gpus, [row for row in power if row[0] > first], [row for row in heat if row[0] > first]


def stacked(power):
    """Minutes, and kilowatts of the largest tenants, of the others and of GPUs nobody holds."""
    minutes = sorted({row[0] for row in power})
    of = {}
    for minute, tenant, kilowatts in power:
        of.setdefault(tenant, dict.fromkeys(minutes, 0.0))[minute] = kilowatts or 0.0
    held = sorted((tenant for tenant in of if tenant), key=lambda tenant: -sum(of[tenant].values()))
    rows = [(tenant, list(of[tenant].values())) for tenant in held[:SHOWN]]
    others = [of[tenant].values() for tenant in held[SHOWN:]]
    rows.append(("others", [sum(column) for column in zip(*others)] or [0.0] * len(minutes)))
    rows.append(("not held", list(of.get(None, dict.fromkeys(minutes, 0.0)).values())))
    return minutes, rows


def label(axes, text, x, y, away):
    """Text to the right of a point, some points away."""
    place = {"xytext": (away, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(text, (x, y), fontsize=8.5, color="#444444", **place)


def draw_power(axes, power):
    minutes, rows = stacked(power)
    palette = matplotlib.colormaps["Set2"].colors
    colors = [*palette[:SHOWN], "#b5b5b5", "#dedede"]
    heights = [values for _, values in rows]
    axes.stackplot(minutes, heights, colors=colors, linewidth=0.4, edgecolor="white")
    base = 0.0
    ends = []
    for (tenant, values), color in zip(rows, colors):
        ends.append((base + values[-1] / 2, tenant, color))
        base += values[-1]
    least = base / 22
    below = -least
    for height, tenant, color in ends:
        below = max(height, below + least)
        label(axes, tenant, minutes[-1], below, 12)
        axes.plot([1.012], [below], marker="s", markersize=4, color=color, clip_on=False,
                  transform=axes.get_yaxis_transform())
    axes.set_xlim(minutes[0], minutes[-1])
    axes.set_ylim(0)
    axes.set_title("Power by tenant, kW", loc="left", fontsize=10)


def draw_heat(axes, heat):
    minutes, low, median, high, hottest = zip(*heat)
    axes.fill_between(minutes, low, high, color="#1f77b4", alpha=0.2, linewidth=0)
    axes.plot(minutes, median, color="#1f77b4")
    axes.plot(minutes, hottest, color="#d62728", linewidth=1.2)
    axes.axhline(87, color="#d62728", linewidth=0.8, linestyle=(0, (4, 4)))
    named = {"hottest": hottest, "95 %": high, "median": median, "5 %": low}
    for text, heights in named.items():
        label(axes, text, minutes[-1], heights[-1], 5)
    axes.text(minutes[1], 83.8, "clocks are lowered", fontsize=8, color="#d62728")
    axes.set_xlim(minutes[0], minutes[-1])
    axes.set_title("Temperature of a GPU, °C", loc="left", fontsize=10)


def main(host, port, file):
    where = f"host={host} port={port} user=warpline dbname=postgres"
    with psycopg.connect(where, autocommit=True) as connection:
        gpus, power, heat = asked(connection)
    figure, (left, right) = matplotlib.pyplot.subplots(1, 2, figsize=(12, 5), width_ratios=(6, 5))
    draw_power(left, power)
    draw_heat(right, heat)
    for axes in (left, right):
        axes.xaxis.set_major_locator(matplotlib.dates.MinuteLocator(byminute=range(0, 60, 15)))
        axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M", tz=UTC))
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0, labelsize=8.5, colors="#444444")
    figure.suptitle(f"An hour of {gpus:,} simulated GPUs", x=0.02, ha="left", fontsize=12)
    figure.tight_layout(rect=(0, 0, 0.98, 0.98), w_pad=3)
    figure.savefig(file, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
