"""Fills the database of an `mlflow server` with the runs or the history that a benchmark reads.

Uses MLflow's own store and tables in this process, because through the server it would take hours. The values are those
that `xtask/src/bench/cases/server/runs.rs`, `history.rs` and `pages.rs` write through our server.

usage: mlflow_fill.py STORE runs COUNT | mlflow_fill.py STORE history POINTS | mlflow_fill.py STORE curves METRICS POINTS
"""

import sys

from mlflow.entities import Metric, Param, RunTag
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import insert

BEGIN = 1_700_000_000_000


def runs(store, count):
    for number in range(count):
        tags = [RunTag(f"t{index}", str(number % (index + 2))) for index in range(5)]
        run = store.create_run("0", "bench", BEGIN + number, tags, f"run {number}").info.run_id
        store.log_batch(
            run,
            [Metric(f"m{index}", (number * (7 + index) % 1000) / 1000, number, 0) for index in range(10)],
            [Param(f"p{index}", str((number + index) % 4)) for index in range(10)],
            [],
        )


def history(store, points):
    written(store, "history", ["loss"], points, lambda step: step / 7.0)


def curves(store, metrics, points):
    written(store, "curves", [f"c{metric}" for metric in range(metrics)], points, noisy)


def noisy(step):
    """A loss that falls and scatters, as losses of batches do."""
    return 1000.0 / (100.0 + step) + step * 2654435761 % 1000 / 1000.0


def written(store, name, keys, points, value):
    """Prints the new run whose metrics have so many points each."""
    run = store.create_run("0", "bench", BEGIN - 1, [], name).info.run_id

    def row(key, step):
        return {"run_uuid": run, "key": key, "value": value(step), "timestamp": BEGIN + step, "step": step, "is_nan": False}

    with store.ManagedSessionMaker() as session:
        for key in keys:
            for begin in range(0, points, 10_000):
                session.execute(insert(SqlMetric), [row(key, step) for step in range(begin, min(begin + 10_000, points))])
            session.execute(insert(SqlLatestMetric), [row(key, points - 1)])
    print(run)


if __name__ == "__main__":
    [uri, kind, *numbers] = sys.argv[1:]
    store = SqlAlchemyStore(uri, "mlflow-artifacts:/")
    {"runs": runs, "history": history, "curves": curves}[kind](store, *map(int, numbers))
