"""Pages of the demo after its months: `demo_pages.py URL AXE FOLDER` looks at each as `own_pages.py` does. Here are the project's own models
after months of requests: what was judged with proof, alerts, and what was trained because of them."""

import sys

import own_pages
from own_pages import numbers


def number(link):
    """The 7 of `rollout 7`."""
    return link.rsplit(" ", 1)[1]


def listed(url):
    """Each page with what it must say. Which rollout came to which end is asked."""
    delivery = numbers(url, "/delivery")
    rollouts = delivery["rollouts"]["rows"]
    harmful = next(row for row in rollouts if row["state"] == "rolled-back")
    first = rollouts[-1]
    assert first["state"] == "complete", rollouts
    release = next(row for row in numbers(url, "/delivery/releases")["releases"]["rows"] if row["model"] == harmful["release"])
    started = numbers(url, "/log?kind=rollout.started")["events"]["rows"]
    caused = next(row["event"] for row in started if row["because of"])
    run = numbers(url, "/pipelines")["runs"]["rows"][0]["run"]
    champion = next(row for row in delivery["environments"]["rows"] if row["environment"] == "prod")
    version = champion["runs"].rsplit(" v", 1)[1]
    # The curve of the judge goes on to its end, and says in what it is.
    found = numbers(url, f"/delivery/rollouts/{number(harmful['rollout'])}")
    cones = [table["rows"] for name, table in found.items() if name.startswith("cone_")]
    harms = [rows[-1]["harm"] for rows in cones if len(rows) > 5]
    assert any(isinstance(harm, (int, float)) and harm > 0 for harm in harms), harms
    return [
        ("home", "/", ["champion v", "prod: flights-late v", "Last alerts", "What happened last"]),
        ("owner", "/owner", ["Ring the arrival team", "What it is worth", "What changed, and who approved", "What needs a decision"]),
        ("delivery", "/delivery", ["Environments", "rolled-back", "complete"]),
        ("rollout", f"/delivery/rollouts/{number(harmful['rollout'])}", ["ended here: harm", "What happened", "reject", "EUR more a decision"]),
        ("rollout_first", f"/delivery/rollouts/{number(first['rollout'])}", ["the release answers all requests"]),
        ("release_harmful", f"/delivery/releases/{release['digest']}", ["rolled-back", "Evidence"]),
        ("monitoring", "/monitoring", ["Over time", "All alerts", "quality:brier"]),
        ("series_drift", "/monitoring/flights-late/drift", ["Its alerts", "Windows", "Compared with"]),
        ("series_quality", "/monitoring/flights-late/quality:brier", ["Labels there", "Over time"]),
        ("models", "/models", ["flights-late", "champion"]),
        ("model", "/models/flights-late", ["champion", "Moves of aliases"]),
        ("version", f"/models/flights-late/{version}", ["Cost against threshold", "flat region", "Calibration", "Importance"]),
        ("card", f"/models/flights-late/{version}/card", ["What it learned from", "How good it is"]),
        ("endpoint", "/serving/flights-late", ["Arms", "Outcomes joined", "up to"]),
        ("pipelines", "/pipelines", ["Steps of the last runs"]),
        ("pipeline", f"/pipelines/{run}", ["What reads what", "cache key"]),
        ("log", "/log?kind=alert.firing", ["alert.firing"]),
        ("chain", f"/log/{caused}", ["What led to it", "trigger.fired", "it is entry"]),
    ]


def main(url, axe, folder):
    own_pages.look_at(url, axe, folder, listed(url))


if __name__ == "__main__":
    main(*sys.argv[1:])
