"""The model registry: models, versions, aliases, stages, tags, copies, search, deletion; and prompts, which are models too."""

import re

import harness
import mlflow
from harness import refused, same, unique
from mlflow import MlflowClient


def version_of(name, **options):
    """A new version of a model whose source is the artifacts of a new run."""
    client = MlflowClient()
    run = client.create_run(client.create_experiment(unique("registry")))
    return client.create_model_version(
        name, f"runs:/{run.info.run_id}/model", run.info.run_id, await_creation_for=10, **options
    )


def check_the_life_of_a_model():
    client = MlflowClient()
    name = unique("größe model")
    model = client.create_registered_model(name, tags={"team": "a"}, description="first")
    same((model.name, model.description, model.tags, model.latest_versions), (name, "first", {"team": "a"}, []), "model")
    refused(
        lambda: client.create_registered_model(name),
        "RESOURCE_ALREADY_EXISTS",
        f"Registered Model (name={name}) already exists.",
    )
    client.update_registered_model(name, "second")
    client.set_registered_model_tag(name, "team", "b")
    client.set_registered_model_tag(name, "gone", "x")
    client.delete_registered_model_tag(name, "gone")
    client.delete_registered_model_tag(name, "never there")
    model = client.get_registered_model(name)
    same((model.description, model.tags), ("second", {"team": "b"}), "model")
    assert model.last_updated_timestamp >= model.creation_timestamp > 1_700_000_000_000

    version_of(name)
    renamed = unique("renamed")
    client.rename_registered_model(name, renamed)
    same(client.get_registered_model(renamed).name, renamed, "name")
    same(client.get_model_version(renamed, "1").name, renamed, "name of its version")
    refused(
        lambda: client.get_registered_model(name), "RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={name} not found"
    )
    client.delete_registered_model(renamed)
    refused(lambda: client.get_registered_model(renamed), "RESOURCE_DOES_NOT_EXIST", "not found")
    refused(lambda: client.get_model_version(renamed, "1"), "RESOURCE_DOES_NOT_EXIST", "not found")
    client.create_registered_model(renamed)
    same(version_of(renamed).version, "1", "the first version of a model with an old name")


def check_versions():
    client = MlflowClient()
    name = unique("versions")
    client.create_registered_model(name)
    first = version_of(name, tags={"k": "1"}, description="one")
    second = version_of(name)
    same((first.version, second.version), ("1", "2"), "numbers")
    version = client.get_model_version(name, "1")
    same((version.description, version.tags, version.status), ("one", {"k": "1"}, "READY"), "version")
    same((version.run_id, version.current_stage), (first.run_id, "None"), "version")
    assert version.source.endswith(f"{first.run_id}/model"), version.source
    uri = client.get_model_version_download_uri(name, "1")
    assert uri.endswith("/model") and first.run_id in uri, uri
    client.update_model_version(name, "1", "changed")
    client.set_model_version_tag(name, "1", "k", "2")
    client.set_model_version_tag(name, "1", "l", "3")
    client.delete_model_version_tag(name, "1", "l")
    version = client.get_model_version(name, "1")
    same((version.description, version.tags), ("changed", {"k": "2"}), "version")
    client.delete_model_version(name, "2")
    refused(
        lambda: client.get_model_version(name, "2"),
        "RESOURCE_DOES_NOT_EXIST",
        f"Model Version (name={name}, version=2) not found",
    )
    same(version_of(name).version, "3", "the number after a deleted version")
    refused(lambda: client.get_model_version(name, "x"), "INVALID_PARAMETER_VALUE", "version")
    refused(lambda: client.get_model_version(name, "77"), "RESOURCE_DOES_NOT_EXIST", "version=77")
    missing = unique("missing")
    refused(lambda: version_of(missing), "RESOURCE_DOES_NOT_EXIST", missing)


def check_aliases():
    client = MlflowClient()
    name = unique("aliases")
    client.create_registered_model(name)
    for _ in range(3):
        version_of(name)
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "challenger", "2")
    client.set_registered_model_alias(name, "both-1_x", "2")
    same(client.get_model_version_by_alias(name, "champion").version, "1", "champion")
    same(sorted(client.get_model_version(name, "2").aliases), ["both-1_x", "challenger"], "aliases of a version")
    same(client.get_registered_model(name).aliases, {"champion": "1", "challenger": "2", "both-1_x": "2"}, "aliases")
    client.set_registered_model_alias(name, "champion", "3")
    same(client.get_model_version_by_alias(name, "champion").version, "3", "champion after it moved")
    same(client.get_model_version(name, "1").aliases, [], "aliases of the former champion")
    client.delete_registered_model_alias(name, "both-1_x")
    client.delete_registered_model_alias(name, "never-there")
    refused(
        lambda: client.get_model_version_by_alias(name, "both-1_x"),
        "INVALID_PARAMETER_VALUE",
        "Registered model alias both-1_x not found.",
    )
    client.delete_model_version(name, "2")
    same(client.get_registered_model(name).aliases, {"champion": "3"}, "aliases after a version was deleted")
    for alias in ["latest", "v1", "sp ace", "ü/x"]:
        refused(lambda alias=alias: client.set_registered_model_alias(name, alias, "1"), "INVALID_PARAMETER_VALUE", alias)
    refused(lambda: client.set_registered_model_alias(name, "a", "9"), "RESOURCE_DOES_NOT_EXIST", "version=9")


def check_stages():
    client = MlflowClient()
    name = unique("stages")
    client.create_registered_model(name)
    for _ in range(3):
        version_of(name)
    client.transition_model_version_stage(name, "1", "Staging")
    client.transition_model_version_stage(name, "2", "production")
    same(client.get_model_version(name, "2").current_stage, "Production", "stage")
    client.transition_model_version_stage(name, "1", "Production", archive_existing_versions=True)
    stages = [client.get_model_version(name, str(number)).current_stage for number in [1, 2, 3]]
    same(stages, ["Production", "Archived", "None"], "stages")
    latest = {version.current_stage: version.version for version in client.get_latest_versions(name)}
    same(latest, {"Production": "1", "Archived": "2", "None": "3"}, "latest versions")
    same([v.version for v in client.get_latest_versions(name, ["Production"])], ["1"], "latest of a stage")
    refused(lambda: client.transition_model_version_stage(name, "1", "Nowhere"), "INVALID_PARAMETER_VALUE", "Nowhere")


def check_models_are_searched():
    client = MlflowClient()
    prefix = unique("find")
    for index, name in enumerate(["Alpha", "beta", "gamma"]):
        client.create_registered_model(f"{prefix}-{name}", tags={"kind": "ab"[index % 2]})
    version_of(f"{prefix}-beta")

    def found(text, order=None):
        return [m.name.removeprefix(f"{prefix}-") for m in client.search_registered_models(text, order_by=order)]

    mine = f"name LIKE '{prefix}%'"
    for text, expected in [
        (mine, ["Alpha", "beta", "gamma"]),
        (f"name = '{prefix}-beta'", ["beta"]),
        (f"name ILIKE '{prefix}-ALPHA'", ["Alpha"]),
        (f"{mine} AND name != '{prefix}-beta'", ["Alpha", "gamma"]),
        (f"{mine} AND tags.kind = 'a'", ["Alpha", "gamma"]),
        (f"{mine} AND tag.`kind` != 'a'", ["beta"]),
        (f"{mine} AND tags.kind LIKE 'B%'", []),
        (f"{mine} AND tags.kind ILIKE 'B%'", ["beta"]),
    ]:
        same(found(text), expected, text)
    same(found(mine, ["name DESC"]), ["gamma", "beta", "Alpha"], "by name")
    same(found(mine, ["last_updated_timestamp DESC"])[0], "beta", "by time")
    page = client.search_registered_models(mine, max_results=2)
    rest = client.search_registered_models(mine, max_results=2, page_token=page.token)
    same([m.name for m in page + rest], [f"{prefix}-{name}" for name in ["Alpha", "beta", "gamma"]], "pages")
    assert not rest.token
    refused(lambda: found("metrics.x > 1"), "INVALID_PARAMETER_VALUE", "Invalid")
    refused(lambda: client.search_registered_models(max_results=1001), "INVALID_PARAMETER_VALUE", "max_results")


def check_versions_are_searched():
    client = MlflowClient()
    names = [unique("one"), unique("two")]
    made = {}
    for name in names:
        client.create_registered_model(name)
        for number in [1, 2, 3]:
            made[name, number] = version_of(name, tags={"odd": str(number % 2)})
    one, two = names

    def found(text, order=None):
        return [(v.name, int(v.version)) for v in client.search_model_versions(text, order_by=order)]

    run = made[two, 2].run_id
    for text, expected in [
        (f"name = '{one}'", [(one, 1), (one, 2), (one, 3)]),
        (f"name LIKE '{one[:8]}%' AND name = '{one}'", [(one, 1), (one, 2), (one, 3)]),
        (f"run_id = '{run}'", [(two, 2)]),
        (f"run_id IN ('{run}', '{made[one, 1].run_id}')", [(one, 1), (two, 2)]),
        (f"name = '{one}' AND tags.odd = '1'", [(one, 1), (one, 3)]),
        (f"name = '{one}' AND version_number >= 2", [(one, 2), (one, 3)]),
        (f"name = '{one}' AND version_number != 2", [(one, 1), (one, 3)]),
        (f"source_path LIKE '%{run}%'", [(two, 2)]),
    ]:
        same(found(text, ["name", "version_number ASC"]), sorted(expected), text)
    same(found(f"name = '{one}'", ["version_number DESC"]), [(one, 3), (one, 2), (one, 1)], "by number")
    client.set_model_version_tag(one, "2", "touched", "yes")
    client.update_model_version(one, "1", "touched last")
    same(found(f"name = '{one}'")[0], (one, 1), "what was updated last comes first")
    page = client.search_model_versions(f"name = '{one}'", max_results=2, order_by=["version_number"])
    rest = client.search_model_versions(f"name = '{one}'", max_results=2, order_by=["version_number"], page_token=page.token)
    same([v.version for v in page + rest], ["1", "2", "3"], "pages")
    refused(lambda: found("nothing = 'x'"), "INVALID_PARAMETER_VALUE", "Invalid")


def check_a_version_is_copied():
    client = MlflowClient()
    name, target = unique("source"), unique("target")
    client.create_registered_model(name)
    version_of(name, tags={"k": "v"}, description="to be copied")
    client.set_registered_model_alias(name, "champion", "1")
    copy = client.copy_model_version(f"models:/{name}@champion", target)
    same((copy.name, copy.version), (target, "1"), "copy")
    copied = client.get_model_version(target, "1")
    same((copied.source, copied.description, copied.tags), (f"models:/{name}/1", "to be copied", {"k": "v"}), "copy")
    same(copied.aliases, [], "aliases of the copy")
    same(
        client.get_model_version_download_uri(target, "1"),
        client.get_model_version_download_uri(name, "1"),
        "where its artifacts are",
    )
    again = client.copy_model_version(f"models:/{target}/1", target)
    same(int(again.version), 2, "a copy of a copy")
    # The client wraps what the server says into an error of its own.
    refused(lambda: client.copy_model_version(f"models:/{name}/9", target), "INTERNAL_ERROR", "version=9) not found")


def check_wrong_sources():
    client = MlflowClient()
    name = unique("sources")
    client.create_registered_model(name)
    run = client.create_run(client.create_experiment(unique("sources"))).info
    other = client.create_run(client.create_experiment(unique("sources"))).info
    for source in [
        "/etc",
        "file:///etc",
        f"{run.artifact_uri}/../../../x",
        f"{run.artifact_uri}/%2e%2e/%2e%2e/x",
        f"{other.artifact_uri}/model",
        f"runs:/{other.run_id}/model",
    ]:
        refused(
            lambda source=source: client.create_model_version(name, source, run.run_id, await_creation_for=0),
            "INVALID_PARAMETER_VALUE",
            "Invalid model version source",
        )
    same(client.search_model_versions(f"name = '{name}'"), [], "versions")
    refused(lambda: client.create_registered_model("a/b"), "INVALID_PARAMETER_VALUE", "a/b")
    refused(lambda: client.create_registered_model(""), "INVALID_PARAMETER_VALUE", "name")


def check_prompts():
    name = unique("prompt").replace(" ", "-")
    first = mlflow.genai.register_prompt(name, "Answer {{question}} politely.", commit_message="first", tags={"lang": "en"})
    second = mlflow.genai.register_prompt(name, "Antworte auf {{question}} in {{words}} Wörtern.", commit_message="second")
    same((first.version, second.version), (1, 2), "versions")
    prompt = mlflow.genai.load_prompt(name, version=1)
    same(prompt.template, "Answer {{question}} politely.", "template")
    same(prompt.format(question="why"), "Answer why politely.", "formatted")
    same((prompt.commit_message, prompt.tags.get("lang")), ("first", "en"), "prompt")
    mlflow.genai.set_prompt_alias(name, "production", 1)
    same(mlflow.genai.load_prompt(f"prompts:/{name}@production").version, 1, "by alias")
    mlflow.genai.set_prompt_alias(name, "production", 2)
    same(mlflow.genai.load_prompt(f"prompts:/{name}@production", cache_ttl_seconds=0).version, 2, "by moved alias")
    same(sorted(mlflow.genai.load_prompt(name, version=2).variables), ["question", "words"], "variables")
    same(mlflow.genai.load_prompt(f"prompts:/{unique('none')}/1", allow_missing=True), None, "unknown prompt")
    found = [p.name for p in mlflow.genai.search_prompts(f"name = '{name}'")]
    same(found, [name], "search for prompts")
    client = MlflowClient()
    same(sorted(int(v.version) for v in client.search_prompt_versions(name)), [1, 2], "versions")
    same(list(client.search_registered_models(f"name = '{name}'")), [], "prompts among the models")
    same(list(client.search_model_versions(f"name = '{name}'")), [], "versions of prompts among those of models")
    mlflow.genai.set_prompt_tag(name, "owner", "me")
    same(mlflow.genai.get_prompt_tags(name).get("owner"), "me", "tag")
    mlflow.genai.set_prompt_version_tag(name, 1, "checked", "yes")
    same(mlflow.genai.load_prompt(name, version=1, cache_ttl_seconds=0).tags.get("checked"), "yes", "tag of a version")
    chat = mlflow.genai.register_prompt(f"{name}-chat", [{"role": "user", "content": "Hi {{name}}"}])
    same(chat.format(name="Ann"), [{"role": "user", "content": "Hi Ann"}], "chat prompt")
    client.delete_prompt_version(name, "1")
    client.delete_prompt_version(name, "2")
    client.delete_prompt(name)
    same(list(mlflow.genai.search_prompts(f"name = '{name}'")), [], "deleted prompt")
    assert re.fullmatch(r"prompt-[0-9a-f]{12}", name)


if __name__ == "__main__":
    harness.main()
