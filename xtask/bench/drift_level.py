"""How often drift is found where there is none, and where there is some: Tidemill and Evidently's default rules on the same pairs.

usage: drift_level.py TIDEMILL REPEAT SIZE…

Works in the current folder, which is a Tidemill project. Every pair is two tables of ten columns drawn anew; for `level` both
from the same distributions, for the others with one column shifted in the second table. Prints one JSON object for each
kind of pair and size: `kind`, `rows`, `of` (pairs), `tidemill`, `evidently` (its verdict on the table: at least half of the
columns drifted) and `any_column` (that it calls at least one column drifted). Of shifts there are a quarter as many pairs, up
to 10,000 rows: above, all of them are found.
"""

import json
import subprocess
import sys
import warnings

import numpy
import pandas
from evidently import Report
from evidently.presets import DataDriftPreset

KINDS = [f"kind {k}" for k in range(6)]


def table(random, rows):
    columns = {f"normal_{n}": random.normal(n, n + 1, rows) for n in range(3)}
    columns |= {f"lognormal_{n}": random.lognormal(n / 4, 0.5, rows) for n in range(2)}
    columns |= {f"count_{n}": random.poisson(5 + 20 * n, rows) for n in range(2)}
    for n in range(3):
        share = 1 / numpy.arange(1, len(KINDS) + 1 - n)
        columns[f"kind_{n}"] = numpy.array(KINDS)[random.choice(len(share), rows, p=share / share.sum())]
    return pandas.DataFrame(columns)


def mean(random, made):
    """By three tenths of a standard deviation."""
    made["normal_0"] += 0.3


def variance(random, made):
    """Half as much again in standard deviation."""
    made["normal_0"] *= 1.5


def swapped(random, made):
    """The two most frequent values change places."""
    made["kind_0"] = made["kind_0"].replace({"kind 0": "kind 1", "kind 1": "kind 0"})


def new(random, made):
    """One row of twenty has a value that was not there before."""
    made.loc[random.random(len(made)) < 0.05, "kind_0"] = "new"


def missing(random, made):
    """One row of eight has no value any more."""
    made.loc[random.random(len(made)) < 0.125, "normal_0"] = numpy.nan


def together(random, made):
    """Two columns that did not depend on each other do; each alone is as before."""
    made["normal_1"] = 1 + 2 * (0.8 * made["normal_0"] + 0.6 * random.normal(0, 1, len(made)))


SHIFTS = [mean, variance, swapped, new, missing, together]


def ours(tidemill):
    command = [tidemill, "data", "drift", "reference.parquet", "current.parquet", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    return json.loads(ran.stdout)["report"]["verdict"]["level"] != "none"


def theirs(reference, current):
    said = Report([DataDriftPreset()]).run(current, reference).dict()
    [count] = [metric["value"] for metric in said["metrics"] if "count" in (metric["value"] if isinstance(metric["value"], dict) else {})]
    return count["share"] >= 0.5, count["count"] > 0


def main(tidemill, repeat, sizes):
    for rows in sizes:
        for shift in [None, *SHIFTS]:
            if shift and rows > 10_000:
                continue
            name = shift.__name__ if shift else "level"
            pairs = max(1, repeat // 4) if shift else repeat
            random = numpy.random.default_rng([rows, *name.encode()])
            found = {"tidemill": 0, "evidently": 0, "any_column": 0}
            for _ in range(pairs):
                reference, current = table(random, rows), table(random, rows)
                if shift:
                    shift(random, current)
                reference.to_parquet("reference.parquet")
                current.to_parquet("current.parquet")
                of_table, any_column = theirs(reference, current)
                found["tidemill"] += bool(ours(tidemill))
                found["evidently"] += bool(of_table)
                found["any_column"] += bool(any_column)
            print(json.dumps({"kind": name, "rows": rows, "of": pairs} | found), flush=True)


if __name__ == "__main__":
    # Its tests divide by zero where a column has one value.
    warnings.simplefilter("ignore")
    main(sys.argv[1], int(sys.argv[2]), [int(size) for size in sys.argv[3:]])
