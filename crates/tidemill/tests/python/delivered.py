"""Requests for predictions of what a test releases, and what came of them: of the flights of the example project where its pipeline ran
in the current folder, and else of the made-up model of `rollouts.py`."""

import math
import pathlib
import urllib.parse

import requests

TABLE = pathlib.Path("features.parquet")
# Rows that are asked about, from the first on and again from there.
ROWS = 4000


class MadeUp:
    """Texts, of which one of four is no number and has no answer."""

    name, is_flights = "late", False

    def __init__(self, url):
        self.url, self.session, self.sent = url, requests.Session(), 0

    def ask(self, count):
        for n in range(count):
            text = "n/a" if n % 4 == 0 else str(n % 10)
            self.infer([{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": [text]}])

    def infer(self, inputs, **more):
        """Whether there is an answer."""
        self.sent += 1
        body = {"inputs": inputs, **more}
        return self.session.post(f"{self.url}/v2/models/{self.name}/infer", json=body, timeout=60).ok


class Flights(MadeUp):
    """Flights of the table that the models were trained on; what became of each is told at once."""

    name, is_flights = "flights-late", True

    def __init__(self, url):
        super().__init__(url)
        self.rows, self.inputs = [], []

    def learn(self):
        """What the model wants, once something answers; and the rows."""
        import pandas

        metadata = self.session.get(f"{self.url}/v2/models/{self.name}", timeout=60)
        assert metadata.ok, metadata.text
        self.inputs = [(one["name"], one["datatype"]) for one in metadata.json()["inputs"]]
        self.rows = pandas.read_parquet(TABLE).head(ROWS).to_dict("records")

    def ask(self, count):
        if not self.rows:
            self.learn()
        known = []
        for _ in range(count):
            row, request = self.rows[self.sent % ROWS], f"flight-{self.sent}"
            inputs = [{"name": name, "shape": [1, 1], "datatype": kind, "data": [value(row[name], kind)]} for name, kind in self.inputs]
            if self.infer(inputs, id=request):
                known.append({"request_id": request, "late": int(row["late"])})
        path = f"{self.url}/api/v1/endpoints/{urllib.parse.quote(self.name)}/outcomes"
        told = self.session.post(path, json=known, timeout=60)
        assert told.ok and known, (told.status_code, told.text, len(known))


def value(found, kind):
    """A value of a table as a request has it; what is missing is null, and no text."""
    is_missing = found is None or (isinstance(found, float) and math.isnan(found))
    if kind == "BYTES":
        return "" if is_missing else str(found)
    if is_missing:
        return None
    return int(found) if "INT" in kind else float(found)


def traffic(url):
    return Flights(url) if TABLE.exists() else MadeUp(url)
