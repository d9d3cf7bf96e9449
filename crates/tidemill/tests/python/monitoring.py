"""A day of flights as traffic: `monitoring.py URL FEATURES DAY FROM TO SHARE TIMES` sends the flights of some hours of a day, one request an hour that
says when it happened, and then what became of them; of SHARE of them the carrier is said to be UA, and
all are said to go TIMES as far. Prints what scikit-learn says of the day."""

import json
import sys
import time

import pandas as pd
import requests
from sklearn.metrics import roc_auc_score

NAME = "flights-late"
TEXT = ("carrier", "origin", "dest", "manufacturer")


def column(frame, name, kind):
    values = frame[name]
    if kind == "BYTES":
        values = ["" if pd.isna(value) else str(value) for value in values]
    elif kind == "INT64":
        values = [int(value) for value in values]
    else:
        values = [None if pd.isna(value) else float(value) for value in values]
    return {"name": name, "datatype": kind, "shape": [len(values), 1], "data": list(values)}


def main(url, features, day, begin, end, share, times):
    session = requests.Session()
    inputs = session.get(f"{url}/v2/models/{NAME}", timeout=60).json()["inputs"]
    frame = pd.read_parquet(features)
    hours = frame["sched_dep"].dt.hour
    frame = frame[(frame["sched_dep"].dt.strftime("%Y-%m-%d") == day) & (hours >= int(begin)) & (hours < int(end))]
    frame = frame.reset_index(drop=True)
    frame.loc[frame.index % 100 < 100 * float(share), "carrier"] = "UA"
    frame["distance"] = frame["distance"] * int(times)
    truth, scores = [], []
    for hour, rows in frame.groupby("sched_dep"):
        request = hour.strftime("%Y%m%dT%H")
        body = {
            "id": request,
            "parameters": {"event_time": hour.strftime("%Y-%m-%dT%H:%M:%SZ")},
            "inputs": [column(rows, it["name"], it["datatype"]) for it in inputs],
        }
        answer = session.post(f"{url}/v2/models/{NAME}/infer", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        outputs = {it["name"]: it for it in answer.json()["outputs"]}
        scores.extend(outputs["probabilities"]["data"][1::2])
        truth.extend(int(late) for late in rows["late"])
        lines = "".join(
            json.dumps({"request_id": request, "row": row, "late": int(late), "missed_connection_cost": 3.5}) + "\n"
            for row, late in enumerate(rows["late"])
        )
        kind = {"content-type": "application/jsonl"}
        told = session.post(f"{url}/api/v1/endpoints/{NAME}/outcomes", data=lines, headers=kind, timeout=60)
        assert told.status_code == 200, told.text
    # What is on its way to the disk is there after this.
    time.sleep(1.5)
    auc = roc_auc_score(truth, scores) if len(set(truth)) == 2 else None
    print(json.dumps({"rows": len(truth), "roc_auc": auc}))


if __name__ == "__main__":
    main(*sys.argv[1:])
