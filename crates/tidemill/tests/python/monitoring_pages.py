"""The pages of monitoring while an alert fires: `monitoring_pages.py URL AXE FOLDER` looks at each as `own_pages.py` does."""

import pathlib
import sys

import browser
import own_pages


class Served:
    def __init__(self, url):
        self.url = url


PAGES = [
    ("monitoring", "/monitoring", ["Alerts", "firing", "carrier", "Drift of flights-late", "Over time", "labels there", "EUR"]),
    ("series_drift", "/monitoring/flights-late/drift", ["firing", "Columns that moved", "carrier", "Its alerts", "Compared with"]),
    ("series_quality", "/monitoring/flights-late/quality:roc_auc", ["Labels there", "Error of the estimate", "100 %"]),
    ("series_estimate", "/monitoring/flights-late/estimate:roc_auc", ["it has no alert of its own", "It is right where"]),
    ("series_kpi", "/monitoring/flights-late/kpi:missed_connection_cost", ["Over releases", "too few releases to say", "While a version answered"]),
    ("series_stream", "/monitoring/flights-late/stream:column:distance", ["ADWIN", "Values so far", "as usual"]),
    ("series_missing", "/monitoring/flights-late/none", ["nothing named"]),
    ("home_firing", "/", ["drift of flights-late", "at risk in the last window", "What comes next", "alert: drift"]),
    ("owner_firing", "/owner", ["drift of flights-late", "not as it should be", "in daily use", "They cost"]),
]


def main(url, axe, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    with browser.Browser() as opened:
        pages = own_pages.Pages(opened, Served(url), pathlib.Path(axe).read_text(), folder)
        for name, path, texts in PAGES:
            failed += own_pages.report(name, lambda name=name, path=path, texts=texts: list(pages.look(name, path, texts)))
    sys.exit(f"{failed} pages failed" if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
