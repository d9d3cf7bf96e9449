"""Sixteen clients at once, each a process of its own: nothing is lost, nothing is there twice, races have one winner.

With several addresses the clients spread over the servers: `python concurrency.py URL URL…`.
"""

import json
import multiprocessing
import os
import sys
import tempfile
import traceback

import harness
import mlflow
from harness import same, unique
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

CLIENTS = 16
SINGLE = 25
BATCH = 400
urls = []


def clients(work, *arguments):
    """Runs `work(number, …)` in sixteen processes, all begun at once; returns what each returned, in order."""
    context = multiprocessing.get_context("fork")
    gate, answers = context.Barrier(CLIENTS), context.SimpleQueue()

    def child(number):
        code = 1
        try:
            mlflow.set_tracking_uri(urls[number % len(urls)])
            gate.wait(60)
            answers.put((number, work(number, *arguments)))
            code = 0
        except BaseException:
            traceback.print_exc()
            answers.put((number, None))
        finally:
            sys.stderr.flush()
            os._exit(code)

    processes = [context.Process(target=child, args=(number,)) for number in range(CLIENTS)]
    for process in processes:
        process.start()
    found = dict(answers.get() for _ in processes)
    for process in processes:
        process.join()
    same([process.exitcode for process in processes], [0] * CLIENTS, "how the clients ended")
    return [found[number] for number in range(CLIENTS)]


def log_a_run(number, there, shared):
    client = MlflowClient()
    run = client.create_run(there, tags={"client": str(number)}, run_name=f"client {number}").info.run_id
    for step in range(SINGLE):
        client.log_metric(run, "single", number + step / 100, timestamp=step, step=step)
    client.log_batch(
        run,
        [Metric("batch", number * step, step, step) for step in range(BATCH)],
        [Param(f"p{index}", f"{number} {index}") for index in range(20)],
        [RunTag(f"t{index}", f"{number} {index}") for index in range(20)],
    )
    for step in range(SINGLE):
        client.log_metric(shared, "shared", number, timestamp=step, step=step)
    client.log_batch(shared, params=[Param(f"from {number}", str(number))], tags=[RunTag(f"from {number}", str(number))])
    client.log_text(run, f"text of {number}", "a/own.txt")
    client.log_text(shared, f"text of {number}", f"b/{number}.txt")
    client.set_terminated(run)
    return run


def check_nothing_is_lost_or_doubled():
    client = MlflowClient()
    there = client.create_experiment(unique("clients"))
    shared = client.create_run(there, run_name="shared").info.run_id
    runs = clients(log_a_run, there, shared)
    same(len(set(runs)), CLIENTS, "runs")
    found = client.search_runs([there], "tags.client IS NOT NULL")
    same({run.info.run_id for run in found}, set(runs), "runs by search")
    for number, run_id in enumerate(runs):
        run = client.get_run(run_id)
        same((run.info.status, run.data.tags["client"]), ("FINISHED", str(number)), "run")
        single = [(p.step, p.value) for p in client.get_metric_history(run_id, "single")]
        same(single, [(step, number + step / 100) for step in range(SINGLE)], "single metrics")
        batch = [(p.step, p.value) for p in client.get_metric_history(run_id, "batch")]
        same(batch, [(step, number * step) for step in range(BATCH)], "metrics of a batch")
        same(run.data.params, {f"p{index}": f"{number} {index}" for index in range(20)}, "params")
        same({k: v for k, v in run.data.tags.items() if k[0] == "t"}, {f"t{i}": f"{number} {i}" for i in range(20)}, "tags")
        same(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/a/own.txt"), f"text of {number}", "artifact")
    run = client.get_run(shared)
    points = [(p.step, p.value) for p in client.get_metric_history(shared, "shared")]
    same(sorted(points), [(step, number) for step in range(SINGLE) for number in range(CLIENTS)], "shared metric")
    same(run.data.params, {f"from {number}": str(number) for number in range(CLIENTS)}, "shared params")
    same(run.data.metrics["shared"], CLIENTS - 1, "latest of the shared metric")
    same(len(client.list_artifacts(shared, "b")), CLIENTS, "shared artifacts")


def race_for_a_param(number, run):
    try:
        MlflowClient().log_param(run, "winner", number)
    except mlflow.exceptions.MlflowException as error:
        assert "Changing param values is not allowed" in str(error), error
        return False
    return True


def check_one_client_sets_a_param():
    client = MlflowClient()
    run = client.create_run(client.create_experiment(unique("race"))).info.run_id
    won = clients(race_for_a_param, run)
    same(sum(won), 1, "winners")
    same(client.get_run(run).data.params, {"winner": str(won.index(True))}, "param")


def race_for_names(number, name, run):
    made = []
    for make in [lambda: MlflowClient().create_experiment(name), lambda: MlflowClient().create_registered_model(name)]:
        try:
            make()
            made.append(True)
        except mlflow.exceptions.MlflowException as error:
            same(error.error_code, "RESOURCE_ALREADY_EXISTS", str(error))
            made.append(False)
    version = MlflowClient().create_model_version(name, f"runs:/{run}/model", run, await_creation_for=0)
    MlflowClient().set_registered_model_alias(name, "last", version.version)
    MlflowClient().set_registered_model_tag(name, f"from-{number}", version.version)
    return made, int(version.version)


def check_names_and_versions_are_given_once():
    client = MlflowClient()
    name = unique("once")
    run = client.create_run(client.create_experiment(unique("source"))).info.run_id
    answers = clients(race_for_names, name, run)
    same([sum(made[i] for made, _ in answers) for i in range(2)], [1, 1], "makers of experiment and model")
    same(sorted(version for _, version in answers), list(range(1, CLIENTS + 1)), "versions")
    model = client.get_registered_model(name)
    same(model.tags, {f"from-{number}": str(version) for number, (_, version) in enumerate(answers)}, "tags")
    assert int(model.aliases["last"]) in range(1, CLIENTS + 1), model.aliases


def upload(number, run, size):
    content = f"{number} of {size} ".encode() * (size // 8)
    with tempfile.TemporaryDirectory() as there:
        path = os.path.join(there, "same.bin")
        with open(path, "wb") as file:
            file.write(content)
        MlflowClient().log_artifact(run, path, "contested")
        MlflowClient().log_artifact(run, path, f"own/{number}")
    return len(content)


def check_artifacts_are_whole():
    client = MlflowClient()
    info = client.create_run(client.create_experiment(unique("contested"))).info
    clients(upload, info.run_id, 800_000)
    for path in ["contested", *[f"own/{number}" for number in range(CLIENTS)]]:
        content = open(mlflow.artifacts.download_artifacts(f"{info.artifact_uri}/{path}/same.bin"), "rb").read()
        number = int(content.split(b" ")[0])
        same(content == f"{number} of 800000 ".encode() * 100_000, True, f"whole content of {path}")
        if path.startswith("own/"):
            same(path, f"own/{number}", "whose content")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python concurrency.py http://127.0.0.1:PORT…")
    urls.extend(sys.argv[1:])
    failed = harness.run(["__main__"], urls[0])
    print(json.dumps({"servers": len(urls), "clients": CLIENTS}))
    sys.exit(1 if failed else 0)
