"""Users, roles and permissions with the client of MLflow's authentication plugin, and the tracking client of users who may
more or less. The administrator's password is in ADMIN_PASSWORD; nothing is granted by default."""

import os
import sys
import types

import mlflow
import requests
from harness import refused, same, unique, url
from mlflow import MlflowClient

# The client's package imports its server, too, which wants Flask-WTF for a form that is never shown here.
if "flask_wtf" not in sys.modules:
    forms = types.ModuleType("flask_wtf.csrf")
    forms.CSRFProtect = object
    sys.modules.update({"flask_wtf": types.ModuleType("flask_wtf"), "flask_wtf.csrf": forms})

ADMIN = ("admin", os.environ["ADMIN_PASSWORD"])
PASSWORD = "a-long-password"


def as_whom(name, password=PASSWORD):
    """Signs the client in; it reads the environment for every request."""
    os.environ.update(MLFLOW_TRACKING_USERNAME=name, MLFLOW_TRACKING_PASSWORD=password)


def auth():
    from mlflow.server import get_app_client

    return get_app_client("basic-auth", tracking_uri=url())


def user():
    """A user whom nothing was granted to."""
    as_whom(*ADMIN)
    name = unique("user")
    auth().create_user(name, PASSWORD)
    return name


def denied(call):
    refused(call, "PERMISSION_DENIED", "Permission denied")


def kept_out(path):
    """A file that may not be read; downloads end with errors of several kinds."""
    try:
        mlflow.artifacts.load_text(path)
    except Exception as error:
        assert "403" in str(error) or "Permission denied" in str(error), error
    else:
        raise AssertionError(f"{path} was read")


def check_users():
    name = user()
    client = auth()
    found = client.get_user(name)
    same((found.username, found.is_admin), (name, False), "user")
    refused(lambda: client.create_user(name, PASSWORD), "RESOURCE_ALREADY_EXISTS")
    refused(lambda: client.create_user(unique("user"), "short"), "INVALID_PARAMETER_VALUE", "12 characters")
    refused(lambda: client.get_user(unique("user")), "RESOURCE_DOES_NOT_EXIST")
    client.update_user_admin(name, True)
    same(client.get_user(name).is_admin, True, "admin")
    client.update_user_admin(name, False)
    client.update_user_password(name, "another-password")
    as_whom(name)
    refused(lambda: client.get_user(name), "UNAUTHENTICATED", "not authenticated")
    as_whom(name, "another-password")
    refused(lambda: client.update_user_password(name, PASSWORD), "INVALID_PARAMETER_VALUE", "Current password")
    client.update_user_password(name, PASSWORD, current_password="another-password")
    as_whom(name)
    same(client.get_user(name).username, name, "self")
    denied(lambda: client.get_user("admin"))
    denied(lambda: client.update_user_admin(name, True))
    me = requests.get(f"{url()}/ajax-api/2.0/mlflow/users/current", auth=(name, PASSWORD), timeout=60).json()
    same(me["user"]["username"], name, "current user")
    as_whom(*ADMIN)
    client.delete_user(name)
    refused(lambda: client.get_user(name), "RESOURCE_DOES_NOT_EXIST")


def check_what_a_user_makes_is_theirs():
    ada, bob = user(), user()
    as_whom(ada)
    client = MlflowClient()
    experiment = client.create_experiment(unique("hers"))
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "m", 1.5)
    client.log_batch(run, params=[mlflow.entities.Param("p", "x")])
    client.log_text(run, "hello", "a.txt")
    as_whom(bob)
    denied(lambda: client.get_run(run))
    denied(lambda: client.log_metric(run, "m", 2.5))
    denied(lambda: client.create_run(experiment))
    denied(lambda: client.list_artifacts(run))
    kept_out(f"mlflow-artifacts:/{experiment}/{run}/artifacts/a.txt")
    same(client.search_runs([experiment]), [], "runs that bob sees")
    assert experiment not in [found.experiment_id for found in client.search_experiments()]

    as_whom(ada)
    auth().grant_user_permission(bob, "experiment", experiment, "READ")
    same(auth().get_user_permission(ada, "experiment", experiment).permission, "MANAGE", "hers")
    as_whom(bob)
    same(client.get_run(run).data.metrics, {"m": 1.5}, "metrics")
    same([found.info.run_id for found in client.search_runs([experiment])], [run], "runs that bob sees now")
    same(mlflow.artifacts.load_text(f"mlflow-artifacts:/{experiment}/{run}/artifacts/a.txt"), "hello", "artifact")
    denied(lambda: client.log_metric(run, "m", 2.5))
    got = auth().get_user_permission(bob, "experiment", experiment)
    same((got.allowed, got.permission), (False, "READ"), "permission")
    as_whom(ada)
    auth().revoke_user_permission(bob, "experiment", experiment)
    auth().grant_user_permission(bob, "experiment", experiment, "EDIT")
    as_whom(bob)
    client.log_metric(run, "m", 2.5)
    denied(lambda: client.delete_run(run))
    as_whom(ada)
    client.delete_run(run)


def check_models():
    ada, bob = user(), user()
    as_whom(ada)
    client, name = MlflowClient(), unique("model")
    client.create_registered_model(name)
    client.create_model_version(name, "s3://bucket/model")
    prompt = mlflow.genai.register_prompt(unique("prompt"), "Say {{ word }}.").name
    as_whom(bob)
    denied(lambda: client.get_registered_model(name))
    denied(lambda: client.get_model_version(name, "1"))
    same(list(client.search_registered_models(f"name = '{name}'")), [], "models that bob sees")
    same(list(client.search_model_versions(f"name = '{name}'")), [], "versions that bob sees")
    denied(lambda: client.set_registered_model_alias(name, "champion", "1"))
    as_whom(ada)
    auth().grant_user_permission(bob, "registered_model", name, "READ")
    auth().grant_user_permission(bob, "prompt", prompt, "READ")
    as_whom(bob)
    same(client.get_model_version(name, "1").version, "1", "version")
    same([found.name for found in client.search_registered_models()], [name], "models that bob sees now")
    same(mlflow.genai.load_prompt(f"prompts:/{prompt}/1").template, "Say {{ word }}.", "prompt")
    denied(lambda: client.delete_registered_model(name))


def check_roles():
    ada = user()
    client = auth()
    role = client.create_role("default", unique("readers"), "may look")
    same((role.workspace, role.description, role.permissions), ("default", "may look", []), "role")
    experiment = MlflowClient().create_experiment(unique("shared"))
    grant = client.add_role_permission(role.id, "experiment", experiment, "READ")
    same((grant.role_id, grant.resource_type, grant.resource_pattern, grant.permission),
         (role.id, "experiment", experiment, "READ"), "permission")
    refused(lambda: client.add_role_permission(role.id, "run", "7", "READ"), "INVALID_PARAMETER_VALUE", "'*'")
    assigned = client.assign_role(ada, role.id)
    same(assigned.role_id, role.id, "assignment")
    refused(lambda: client.assign_role(ada, role.id), "RESOURCE_ALREADY_EXISTS")
    as_whom(ada)
    same(MlflowClient().get_experiment(experiment).experiment_id, experiment, "seen")
    same([found.id for found in client.list_user_roles(ada)], [role.id], "roles of a user")
    denied(lambda: client.create_role("default", unique("more")))
    denied(client.list_all_roles)
    same(role.id in [found.id for found in client.list_roles("default")], True, "roles")
    as_whom(*ADMIN)
    same(client.update_role_permission(grant.id, "EDIT").permission, "EDIT", "updated")
    same([found.permission for found in client.list_role_permissions(role.id)], ["EDIT"], "permissions")
    renamed = client.update_role(role.id, name=unique("writers"))
    same((client.get_role(role.id).name, renamed.description), (renamed.name, "may look"), "renamed")
    same([found.user_id for found in client.list_role_users(role.id)], [client.get_user(ada).id], "who has it")
    same(role.id in [found.id for found in client.list_all_roles()], True, "all roles")
    client.remove_role_permission(grant.id)
    as_whom(ada)
    denied(lambda: MlflowClient().get_experiment(experiment))
    as_whom(*ADMIN)
    client.unassign_role(ada, role.id)
    refused(lambda: client.unassign_role(ada, role.id), "RESOURCE_DOES_NOT_EXIST")
    client.delete_role(role.id)
    refused(lambda: client.get_role(role.id), "RESOURCE_DOES_NOT_EXIST")
