"""Artifacts of runs through the proxy: large, many, parallel, oddly named, listed, read in part, deleted, refused."""

import concurrent.futures
import functools
import hashlib
import os
import pathlib
import tempfile
import urllib.parse

import harness
import mlflow
import requests
from harness import refused, same, unique
from mlflow import MlflowClient

BIG = 300_000_000


@functools.cache
def run():
    client = MlflowClient()
    return client.create_run(client.create_experiment(unique("artifacts"))).info


def proxy(path, info=None):
    """The address of an artifact in the proxy."""
    root = (info or run()).artifact_uri.removeprefix("mlflow-artifacts:/")
    return f"{harness.url()}/api/2.0/mlflow-artifacts/artifacts/{root}/{urllib.parse.quote(path)}"


def fill(path, size, seed):
    """Writes bytes which do not compress and returns their digest."""
    digest, block = hashlib.sha256(), hashlib.shake_256(str(seed).encode()).digest(1 << 20)
    with open(path, "wb") as file:
        left, turn = size, 0
        while left > 0:
            # Every block differs a little, so that no part of the file is like another.
            part = (turn.to_bytes(8, "little") + block)[: min(left, 1 << 20)]
            file.write(part)
            digest.update(part)
            left, turn = left - len(part), turn + 1
    return digest.hexdigest()


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_a_large_file():
    with tempfile.TemporaryDirectory() as there:
        source = os.path.join(there, "big.bin")
        digest = fill(source, BIG, 1)
        MlflowClient().log_artifact(run().run_id, source, "large")
        os.remove(source)
        [file] = MlflowClient().list_artifacts(run().run_id, "large")
        same((file.path, file.file_size, file.is_dir), ("large/big.bin", BIG, False), "listed")
        back = mlflow.artifacts.download_artifacts(run_id=run().run_id, artifact_path="large/big.bin", dst_path=there)
        same((os.path.getsize(back), digest_of(back)), (BIG, digest), "downloaded")


def check_a_file_in_parts():
    """The client sends parts where the server says that it takes them, and the whole file where not."""
    info = harness.call("GET", "/api/3.0/mlflow/server-info")
    size, chunk = 5_500_000, 1_000_000
    put, urls = requests.put, []
    variables = {"MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(chunk), "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": str(chunk)}
    os.environ.update(variables)
    requests.put = lambda url, **options: urls.append(url) or put(url, **options)
    try:
        with tempfile.TemporaryDirectory() as there:
            source = os.path.join(there, "parts.bin")
            digest = fill(source, size, 7)
            MlflowClient().log_artifact(run().run_id, source, "in parts")
            os.remove(source)
            path = mlflow.artifacts.download_artifacts(f"runs:/{run().run_id}/in parts/parts.bin", dst_path=there)
            same(digest_of(path), digest, "downloaded")
    finally:
        requests.put = put
        for name in variables:
            os.environ.pop(name)
    same(len(urls), 6 if info["multipart_uploads_enabled"] else 0, "parts")


def check_a_tree_of_many_files():
    with tempfile.TemporaryDirectory() as there:
        source = pathlib.Path(there, "in")
        contents = {}
        for index in range(120):
            name = f"part {index % 7}/{index % 3}/{index:03}.txt"
            contents[name] = f"{index} " * (index * 13 % 400)
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(contents[name])
        MlflowClient().log_artifacts(run().run_id, str(source), "tree")
        listed = MlflowClient().list_artifacts(run().run_id, "tree")
        same([(f.path, f.is_dir) for f in listed], [(f"tree/part {i}", True) for i in range(7)], "folders")
        back = pathlib.Path(mlflow.artifacts.download_artifacts(f"runs:/{run().run_id}/tree", dst_path=f"{there}/out"))
        found = {str(path.relative_to(back)): path.read_text() for path in back.rglob("*") if path.is_file()}
        same(found, contents, "downloaded tree")


def check_uploads_at_once():
    def one(index):
        with tempfile.TemporaryDirectory() as there:
            path = os.path.join(there, f"{index}.bin")
            digest = fill(path, 1_500_000 + index, index % 3)
            MlflowClient().log_artifact(run().run_id, path, "parallel")
            os.remove(path)
            back = mlflow.artifacts.download_artifacts(f"runs:/{run().run_id}/parallel/{index}.bin", dst_path=there)
            same(digest_of(back), digest, f"file {index}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(24)))
    listed = MlflowClient().list_artifacts(run().run_id, "parallel")
    same(sorted(f.file_size for f in listed), [1_500_000 + index for index in range(24)], "listed")


def check_odd_names():
    names = [
        "with space.txt",
        "größe ✓ 漢字.txt",
        "plus+and&amp;=.txt",
        "quote'\"s.txt",
        "semi;colon,comma.txt",
        "[brackets]{braces}.txt",
        ".hidden",
        "dots...txt",
        "~tilde@at!.txt",
        "no extension",
    ]
    with tempfile.TemporaryDirectory() as there:
        for name in names:
            pathlib.Path(there, name).write_text(f"content of {name}")
        MlflowClient().log_artifacts(run().run_id, there, "odd names/ü")
    listed = [f.path for f in MlflowClient().list_artifacts(run().run_id, "odd names/ü")]
    same(sorted(listed), sorted(f"odd names/ü/{name}" for name in names), "listed")
    for name in names:
        answer = requests.get(proxy(f"odd names/ü/{name}"), timeout=60)
        same((answer.status_code, answer.content.decode()), (200, f"content of {name}"), name)
    back = mlflow.artifacts.download_artifacts(run_id=run().run_id, artifact_path="odd names")
    for name in names:
        same(pathlib.Path(back, "ü", name).read_text(), f"content of {name}", f"downloaded {name}")


def check_files_are_listed_and_replaced():
    client = MlflowClient()
    info = client.create_run(run().experiment_id).info
    same(client.list_artifacts(info.run_id), [], "artifacts of a new run")
    for text in ["one", "a longer text", ""]:
        client.log_text(info.run_id, text, "a/b/c.txt")
        [file] = client.list_artifacts(info.run_id, "a/b")
        same((file.path, file.file_size or 0), ("a/b/c.txt", len(text)), "listed")
        same(mlflow.artifacts.load_text(f"{info.artifact_uri}/a/b/c.txt"), text, "text")
    client.log_text(info.run_id, "x", "z.txt")
    client.log_text(info.run_id, "x", "a.txt")
    listed = [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(info.run_id)]
    same(listed, [("a", True, None), ("a.txt", False, 1), ("z.txt", False, 1)], "listed")
    same(client.list_artifacts(info.run_id, "none"), [], "an unknown folder")
    same(client.list_artifacts(info.run_id, "z.txt"), [], "a file as a folder")
    answer = harness.call("GET", "artifacts/list", {"run_uuid": info.run_id})
    same((answer["root_uri"], len(answer["files"])), (info.artifact_uri, 3), "raw list")
    text = harness.call("GET", "/get-artifact", {"run_id": info.run_id, "path": "z.txt"}).text
    same(text, "x", "as the web pages read it")


def check_parts_of_a_file():
    client = MlflowClient()
    info = client.create_run(run().experiment_id).info
    client.log_text(info.run_id, "0123456789", "digits.txt")
    whole = requests.get(proxy("digits.txt", info), timeout=60)
    same((whole.status_code, whole.text, whole.headers["content-length"]), (200, "0123456789", "10"), "whole file")
    assert "attachment" in whole.headers["content-disposition"], whole.headers
    same(whole.headers["x-content-type-options"], "nosniff", "header")


def check_files_are_deleted():
    client = MlflowClient()
    info = client.create_run(run().experiment_id).info
    for name in ["keep.txt", "gone.txt", "dir/a.txt", "dir/b.txt"]:
        client.log_text(info.run_id, name, name)
    for name in ["gone.txt", "dir"]:
        answer = requests.delete(proxy(name, info), timeout=60)
        assert answer.ok, answer.text
    same([f.path for f in client.list_artifacts(info.run_id)], ["keep.txt"], "left")
    answer = requests.get(proxy("gone.txt", info), timeout=60)
    same((answer.status_code, answer.json()["error_code"]), (404, "RESOURCE_DOES_NOT_EXIST"), "a deleted file")
    same(mlflow.artifacts.load_text(f"{info.artifact_uri}/keep.txt"), "keep.txt", "the other file")


def check_paths_stay_inside():
    secret = "secret outside of the artifacts"
    with tempfile.TemporaryDirectory() as there:
        pathlib.Path(there, "secret").write_text(secret)
        for path in [
            "../secret",
            "%2e%2e/secret",
            "..%2f..%2f..%2fetc%2fpasswd",
            "%252e%252e%252fetc/passwd",
            "a/../../../../etc/passwd",
        ]:
            for method, options in [("GET", {}), ("PUT", {"data": b"x"}), ("DELETE", {})]:
                request = requests.Request(method, proxy(""), **options).prepare()
                request.url = proxy("") + path
                answer = requests.Session().send(request, timeout=60)
                assert answer.status_code in (400, 404, 405), (method, path, answer.status_code, answer.text)
                assert secret not in answer.text and "root:" not in answer.text, (method, path)
        same(pathlib.Path(there, "secret").read_text(), secret, "the file outside")
    for path in ["../x", "/etc", "a/../..", "a#b"]:
        answer = harness.call("GET", "artifacts/list", {"run_id": run().run_id, "path": path}, status=400)
        same(answer["error_code"], "INVALID_PARAMETER_VALUE", path)
    missing = f"runs:/{run().run_id}/not there"
    refused(lambda: mlflow.artifacts.load_text(missing), ("RESOURCE_DOES_NOT_EXIST", "INTERNAL_ERROR"), "not there")


if __name__ == "__main__":
    harness.main()
