"""Pages of a model whose versions were set beside it: `ageing_pages.py URL AXE FOLDER` looks at each as `own_pages.py` does, and at
the numbers behind the curve."""

import json
import pathlib
import sys
import urllib.request

import browser
import own_pages


class Served:
    def __init__(self, url):
        self.url = url


PAGES = [
    ("ageing", "/models/judged", ["Age and quality", "roc_auc over age", "held out for v2", "must come to"]),
    ("ageing_version", "/models/judged/2", ["Age and quality", "roc_auc over age", "Tests"]),
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
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers(url)
    failed = 0
    with browser.Browser() as opened:
        pages = own_pages.Pages(opened, Served(url), pathlib.Path(axe).read_text(), folder)
        for name, path, texts in PAGES:
            failed += own_pages.report(name, lambda name=name, path=path, texts=texts: list(pages.look(name, path, texts)))
    sys.exit(f"{failed} pages failed" if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
