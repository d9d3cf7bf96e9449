"""The pages of monitoring while an alert fires: `monitoring_pages.py URL AXE FOLDER` looks at each as `own_pages.py` does."""

import sys

import own_pages

PAGES = [
    ("monitoring", "/monitoring", ["Alerts", "firing", "carrier", "Drift of flights-late", "Over time", "labels there", "EUR"]),
    ("series_drift", "/monitoring/flights-late/drift", ["firing", "Columns that moved", "carrier", "Its alerts", "Compared with"]),
    ("series_quality", "/monitoring/flights-late/quality:roc_auc", ["Labels there", "Error of the estimate", "100 %"]),
    ("series_estimate", "/monitoring/flights-late/estimate:roc_auc", ["it has no alert of its own", "It is right where"]),
    ("series_kpi", "/monitoring/flights-late/kpi:missed_connection_cost", ["missed_connection_cost, EUR", "Over releases", "too few releases to say", "While a version answered"]),
    ("series_stream", "/monitoring/flights-late/stream:column:distance", ["ADWIN", "Values so far", "as usual"]),
    ("series_missing", "/monitoring/flights-late/none", ["nothing named"]),
    ("home_firing", "/", ["drift of flights-late", "at risk in the last window", "What comes next", "alert: drift"]),
    ("owner_firing", "/owner", ["drift of flights-late", "not as it should be", "in daily use", "They cost"]),
]


def main(url, axe, folder):
    own_pages.look_at(url, axe, folder, PAGES)


if __name__ == "__main__":
    main(*sys.argv[1:])
