"""Pages of a model whose versions were set beside it: `ageing_pages.py URL AXE FOLDER` looks at each as `own_pages.py` does, and at
the numbers behind the curve."""

import json
import sys
import urllib.request

import own_pages

PAGES = [
    ("ageing", "/models/judged", ["Age and quality", "roc_auc over age", "held out for v2", "must come to"]),
    ("ageing_version", "/models/judged/2", ["Age and quality", "roc_auc over age", "Tests", "got better"]),
    ("ageing_first", "/models/judged/1", ["Tests"]),
]


def numbers(url):
    """The curve as programs get it: the model itself, and the version that was there before."""
    with urllib.request.urlopen(f"{url}/models/judged?format=json", timeout=60) as answer:
        rows = json.load(answer)["data"]["age_quality_0"]["rows"]
    assert [row["version"] for row in rows] == ["v2", "v1"], rows
    assert rows[0]["age in days"] == 0 and rows[0]["roc_auc"] > rows[1]["roc_auc"], rows
    with urllib.request.urlopen(f"{url}/models/judged?format=csv&table=age_quality_0", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    assert len(lines) == 3 and lines[0].startswith("version,"), lines


def main(url, axe, folder):
    numbers(url)
    own_pages.look_at(url, axe, folder, PAGES)


if __name__ == "__main__":
    main(*sys.argv[1:])
