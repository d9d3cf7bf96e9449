"""Prints times of schedules, as the table `reference.tsv` holds them.

    python -m venv venv && venv/bin/pip install crondst==1.0.3 tzdata
    venv/bin/python reference.py > reference.tsv

`crondst` follows Vixie's cron over changes of the clock, and knows nothing of the crate that we use.
"""

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from crondst import CronDst

CRONS = [
    "0 3 * * *", "30 2 * * *", "30 1 * * *", "15 0 * * *", "*/20 * * * *", "0 */6 * * *", "5 1,2,3 * * *",
    "0 0 1 * *", "0 12 * * 1-5", "0 0 13 * 5", "59 23 31 12 *", "0 2 * 3,10,11 0", "0 0 29 2 *", "0 1-4/2 * * *",
]
ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata",
    "Pacific/Chatham", "Africa/Cairo", "Asia/Tehran",
]
# Some days before each change of the clock in 2026 and 2027, and ordinary days.
STARTS = [
    (2026, 1, 15, 7, 3), (2026, 3, 7, 22, 0), (2026, 3, 28, 21, 59), (2026, 4, 4, 10, 0), (2026, 4, 23, 20, 30),
    (2026, 9, 5, 23, 1), (2026, 9, 26, 3, 0), (2026, 10, 3, 9, 30), (2026, 10, 24, 22, 0), (2026, 10, 29, 19, 0),
    (2026, 10, 31, 22, 45), (2027, 12, 31, 23, 58),
]

for cron in CRONS:
    for zone in ZONES:
        for start in STARTS:
            begin = datetime(*start, tzinfo=timezone.utc).astimezone(ZoneInfo(zone))
            times = CronDst(cron).iter(begin)
            found = [next(times).astimezone(timezone.utc) for _ in range(6)]
            texts = [time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in found]
            print(cron, zone, datetime(*start).strftime("%Y-%m-%dT%H:%M:%SZ"), *texts, sep="\t")
