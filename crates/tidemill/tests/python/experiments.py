"""Experiments: made, found, renamed, tagged, deleted, restored."""

import time

import harness
import mlflow
from harness import refused, same, unique
from mlflow import MlflowClient
from mlflow.entities import ViewType


def check_an_experiment_is_made_once():
    client = MlflowClient()
    name = unique("größe & co/✓")
    begin = int(time.time() * 1000)
    there = client.create_experiment(name, tags={"a": "1", "b": "zwei"})
    experiment = client.get_experiment(there)
    same((experiment.name, experiment.lifecycle_stage), (name, "active"), "experiment")
    same(experiment.tags["a"], "1", "tags")
    assert begin - 1000 <= experiment.creation_time <= time.time() * 1000 + 1000
    same(client.get_experiment_by_name(name).experiment_id, there, "by name")
    same(client.get_experiment_by_name(unique("none")), None, "unknown name")
    assert there.isdigit() and experiment.artifact_location.startswith("mlflow-artifacts:/"), experiment
    refused(
        lambda: client.create_experiment(name), "RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists."
    )
    same(mlflow.set_experiment(name).experiment_id, there, "set_experiment of a known name")
    same(client.get_experiment("0").name, "Default", "the first experiment")


def check_the_life_of_an_experiment():
    client = MlflowClient()
    there = client.create_experiment(unique("life"))
    run = client.create_run(there).info.run_id
    renamed = unique("renamed")
    client.rename_experiment(there, renamed)
    same(client.get_experiment(there).name, renamed, "name")
    client.set_experiment_tag(there, "k", "v1")
    client.set_experiment_tag(there, "k", "v2")
    client.set_experiment_tag(there, "mlflow.note.content", "about *this*")
    client.delete_experiment_tag(there, "mlflow.note.content")
    same(client.get_experiment(there).tags.get("k"), "v2", "tag")
    assert "mlflow.note.content" not in client.get_experiment(there).tags
    refused(lambda: client.delete_experiment_tag(there, "none"), "RESOURCE_DOES_NOT_EXIST", "none")
    updated = client.get_experiment(there).last_update_time

    client.delete_experiment(there)
    experiment = client.get_experiment(there)
    same((experiment.lifecycle_stage, experiment.name), ("deleted", renamed), "deleted experiment")
    assert experiment.last_update_time >= updated
    same(client.get_run(run).info.lifecycle_stage, "deleted", "its run")
    refused(
        lambda: client.create_run(there),
        "INVALID_PARAMETER_VALUE",
        f"The experiment {there} must be in the 'active' state. Current state is deleted.",
    )
    refused(lambda: client.set_experiment_tag(there, "k", "v3"), "INVALID_PARAMETER_VALUE", "must be in the 'active' state")
    refused(lambda: client.create_experiment(renamed), "RESOURCE_ALREADY_EXISTS", "already exists")
    refused(lambda: client.delete_experiment(there), "RESOURCE_DOES_NOT_EXIST", there)
    refused(lambda: mlflow.set_experiment(renamed), "INVALID_PARAMETER_VALUE", "Cannot set a deleted experiment")

    client.restore_experiment(there)
    same(client.get_experiment(there).lifecycle_stage, "active", "restored experiment")
    same(client.get_run(run).info.lifecycle_stage, "active", "its run")
    refused(lambda: client.restore_experiment(there), "RESOURCE_DOES_NOT_EXIST", there)


def check_experiments_are_searched():
    client = MlflowClient()
    prefix = unique("find")
    made = [
        client.create_experiment(f"{prefix} {name}", tags={"kind": kind, **({"rare": "x"} if kind == "b" else {})})
        for name, kind in [("Alpha", "a"), ("beta", "b"), ("gamma", "a"), ("delta", "b")]
    ]
    client.delete_experiment(made[3])

    def found(text, order=None, view=ViewType.ACTIVE_ONLY):
        everything = client.search_experiments(view, filter_string=text, order_by=order or ["name"])
        return [experiment.name.removeprefix(f"{prefix} ") for experiment in everything]

    mine = f"name LIKE '{prefix}%'"
    for text, view, expected in [
        (mine, ViewType.ACTIVE_ONLY, ["Alpha", "beta", "gamma"]),
        (mine, ViewType.DELETED_ONLY, ["delta"]),
        (mine, ViewType.ALL, ["Alpha", "beta", "delta", "gamma"]),
        (f"name = '{prefix} beta'", ViewType.ALL, ["beta"]),
        (f"attribute.name ILIKE '{prefix} ALPHA'", ViewType.ALL, ["Alpha"]),
        (f"{mine} AND name != '{prefix} beta'", ViewType.ALL, ["Alpha", "delta", "gamma"]),
        (f"{mine} AND tags.kind = 'a'", ViewType.ALL, ["Alpha", "gamma"]),
        (f"{mine} AND tags.rare IS NULL", ViewType.ALL, ["Alpha", "gamma"]),
        (f"{mine} AND tags.`kind` LIKE 'b%' AND tag.rare = 'x'", ViewType.ALL, ["beta", "delta"]),
        (f"{mine} AND creation_time > 1700000000000", ViewType.ACTIVE_ONLY, ["Alpha", "beta", "gamma"]),
        (f"{mine} AND last_update_time < 1700000000000", ViewType.ALL, []),
    ]:
        same(found(text, view=view), expected, text)
    for order, expected in [
        (["name DESC"], ["gamma", "beta", "Alpha"]),
        (["creation_time ASC", "experiment_id"], ["Alpha", "beta", "gamma"]),
        (["experiment_id DESC"], ["gamma", "beta", "Alpha"]),
    ]:
        same(found(mine, order), expected, f"{order}")
    pages, token = [], None
    while True:
        page = client.search_experiments(ViewType.ALL, 3, mine, ["name"], token)
        pages.append(len(page))
        token = page.token
        if not token:
            break
    same(pages, [3, 1], "pages")
    refused(lambda: found("params.x = '1'"), "INVALID_PARAMETER_VALUE", "Invalid")
    refused(lambda: client.search_experiments(max_results=-1), "INVALID_PARAMETER_VALUE", "max_results")


def check_wrong_experiments():
    client = MlflowClient()
    refused(lambda: client.get_experiment("99999999"), "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=99999999 exists")
    refused(lambda: client.create_run("99999999"), "RESOURCE_DOES_NOT_EXIST", "99999999")
    refused(lambda: client.create_experiment(""), "INVALID_PARAMETER_VALUE", "name")
    refused(lambda: client.create_experiment("x" * 501), "INVALID_PARAMETER_VALUE", "500")
    one, two = client.create_experiment(unique("clash")), unique("taken")
    client.create_experiment(two)
    # MLflow answers with the database's own words under the code BAD_REQUEST.
    refused(lambda: client.rename_experiment(one, two), ("RESOURCE_ALREADY_EXISTS", "BAD_REQUEST"))
    answer = harness.call("GET", "experiments/get", {"experiment_id": "abc"}, status=400)
    same(answer["message"], "Invalid experiment ID 'abc'. Experiment ID must be a valid integer.", "message")


if __name__ == "__main__":
    harness.main()
