"""Evidently's drift preset with its default rules over two Parquet files: REFERENCE CURRENT."""

import sys

import pandas
from evidently import Report
from evidently.presets import DataDriftPreset

reference, current = (pandas.read_parquet(path) for path in sys.argv[1:3])
print(Report([DataDriftPreset()]).run(current, reference).json()[:2000])
