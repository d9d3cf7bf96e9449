//! Files of runs and logged models, as the web pages ask for them.

use serde_json::json;

use super::lab::{Lab, PROXY, noise};

const API: &str = "/ajax-api/2.0/mlflow";

#[tokio::test]
async fn files_of_a_run_and_of_a_model() {
    let lab = Lab::new().await;
    let owner = lab.owner(7, "mlflow-artifacts:/7").await;
    let (run, model) = (&owner.run, &owner.model);
    assert_eq!(owner.uri, format!("mlflow-artifacts:/7/{run}/artifacts"));
    let list = format!("{API}/artifacts/list?run_uuid={run}");
    assert_eq!(lab.get(&list).await.json(), json!({"root_uri": owner.uri}), "nothing yet");
    for name in ["plot.png", "model/MLmodel", "model/data/x"] {
        lab.put(&format!("7/{run}/artifacts/{name}"), name.as_bytes()).await;
        lab.put(&format!("7/models/{model}/artifacts/{name}"), name.as_bytes()).await;
    }
    assert_eq!(
        lab.get(&list).await.json(),
        json!({"root_uri": owner.uri, "files": [
            {"path": "model", "is_dir": true},
            {"path": "plot.png", "is_dir": false, "file_size": 8},
        ]})
    );
    // Paths are relative to the run, whatever folder is listed.
    let below = lab.get(&format!("/api/2.0/mlflow/artifacts/list?run_id={run}&path=model")).await.json();
    assert_eq!(
        below["files"],
        json!([
            {"path": "model/MLmodel", "is_dir": false, "file_size": 13},
            {"path": "model/data", "is_dir": true},
        ])
    );
    let of_model = format!("{API}/logged-models/{model}/artifacts");
    let listed = lab.get(&format!("{of_model}/directories?artifact_directory_path=model/data")).await.json();
    assert_eq!(listed["files"], json!([{"path": "model/data/x", "is_dir": false, "file_size": 12}]));
    assert_eq!(listed["root_uri"], json!(format!("mlflow-artifacts:/7/models/{model}/artifacts")));

    for target in [
        format!("/get-artifact?run_id={run}&path=model/MLmodel"),
        format!("/get-artifact?path=model%2FMLmodel&run_uuid={run}"),
        format!("{of_model}/files?artifact_file_path=model/MLmodel"),
    ] {
        let answer = lab.get(&target).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"model/MLmodel".as_slice()), "{target}");
        assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"MLmodel\""));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let part = lab.send("GET", &target, "Range: bytes=0-4\r\n", b"").await;
        assert_eq!((part.status, part.body.as_slice()), (206, b"model".as_slice()), "{target}");
    }
}

#[tokio::test]
async fn files_of_a_version() {
    let lab = Lab::new().await;
    let owner = lab.owner(7, "mlflow-artifacts:/7").await;
    let (run, model) = (&owner.run, &owner.model);
    lab.put(&format!("7/{run}/artifacts/model/MLmodel"), b"of the run").await;
    lab.put(&format!("7/models/{model}/artifacts/MLmodel"), b"of the model").await;
    let api = "/api/2.0/mlflow";
    lab.post(&format!("{api}/registered-models/create"), &json!({"name": "late"})).await;
    for body in [
        json!({"name": "late", "source": format!("runs:/{run}/model"), "run_id": run}),
        json!({"name": "late", "source": format!("models:/{model}"), "model_id": model}),
    ] {
        let answer = lab.post(&format!("{api}/model-versions/create"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for (version, body) in [(1, b"of the run".as_slice()), (2, b"of the model")] {
        let target = format!("/model-versions/get-artifact?name=late&version={version}&path=MLmodel");
        let answer = lab.get(&target).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, body), "{}", answer.text());
    }
    for (query, status) in [
        ("name=late&version=3&path=MLmodel", 404),
        ("name=none&version=1&path=MLmodel", 404),
        ("name=late&version=1&path=none", 404),
        ("name=late&version=1&path=../secret", 400),
        ("name=late&version=1", 400),
        ("version=1&path=MLmodel", 400),
    ] {
        assert_eq!(lab.get(&format!("/model-versions/get-artifact?{query}")).await.status, status, "{query}");
    }
}

#[tokio::test]
async fn what_is_missing_and_what_is_refused() {
    let lab = Lab::new().await;
    let owner = lab.owner(7, "mlflow-artifacts:/7").await;
    let (run, model) = (&owner.run, &owner.model);
    let other = "f".repeat(32);
    lab.put("secret", b"s").await;
    lab.put(&format!("7/{run}/artifacts/folder/file"), b"x").await;
    for (target, status, message) in [
        (format!("{API}/artifacts/list?run_id={other}"), 404, format!("Run with id={other} not found")),
        (format!("/get-artifact?run_id={other}&path=x"), 404, format!("Run with id={other} not found")),
        (format!("/get-artifact?run_id={run}&path=x"), 404, "No such artifact: 'x'".to_owned()),
        (
            format!("/get-artifact?run_id={run}&path=folder"),
            400,
            "Artifact path refers to a directory, not a file: 'folder'".to_owned(),
        ),
        (format!("/get-artifact?run_id={run}&path=../../../secret"), 400, "Invalid path".to_owned()),
        (format!("/get-artifact?run_id={run}&path=%252e%252e/secret"), 400, "Invalid path".to_owned()),
        (format!("{API}/artifacts/list?run_id={run}&path=/etc"), 400, "Invalid path".to_owned()),
        (format!("{API}/artifacts/list?run_id={run}&path=a%23b"), 400, "Invalid path".to_owned()),
        (
            format!("{API}/artifacts/list?run_id={run}&page_token=???"),
            400,
            "Invalid page token, could not base64-decode".to_owned(),
        ),
        (
            format!("{API}/logged-models/m-x/artifacts/directories"),
            404,
            "Logged model with ID 'm-x' not found.".to_owned(),
        ),
        (
            format!("{API}/logged-models/{model}/artifacts/files"),
            400,
            "Request must include the \"artifact_file_path\" query parameter.".to_owned(),
        ),
        (
            format!("{API}/logged-models/{model}/artifacts/files?artifact_file_path=../../secret"),
            400,
            "Invalid path".to_owned(),
        ),
    ] {
        let answer = lab.get(&target).await;
        assert_eq!((answer.status, answer.error().2), (status, message), "{target}");
    }
    for target in [format!("{API}/artifacts/list"), "/get-artifact?path=x".to_owned()] {
        let (status, code, message) = lab.get(&target).await.error();
        assert_eq!((status, code.as_str()), (400, "INVALID_PARAMETER_VALUE"));
        assert!(message.starts_with("Missing value for required parameter 'run_id'."), "{message}");
    }
    let without_path = lab.get(&format!("/get-artifact?run_id={run}")).await;
    assert!(without_path.error().2.starts_with("Missing value for required parameter 'path'."));
}

#[tokio::test]
async fn pages_upload_small_things() {
    let lab = Lab::new().await;
    let owner = lab.owner(7, "mlflow-artifacts:/7").await;
    let run = &owner.run;
    let target = format!("{API}/upload-artifact?run_uuid={run}&path=notes/a.md");
    let answer = lab.send("POST", &target, "Content-Type: text/plain\r\n", b"# note").await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    assert_eq!(lab.fetch(&format!("7/{run}/artifacts/notes/a.md")).await.body, b"# note");
    let large = noise(1, (10 << 20) + 1);
    for (target, body, message) in [
        (format!("{API}/upload-artifact?path=a"), b"x".as_slice(), "Request must specify run_uuid."),
        (format!("{API}/upload-artifact?run_uuid={run}"), b"x", "Request must specify path."),
        (format!("{API}/upload-artifact?run_uuid={run}&path=../a"), b"x", "Invalid path"),
        (target.clone(), b"", "Request must specify data."),
        (target.clone(), &large, "Artifact size is too large. Max size is 10MB."),
    ] {
        let answer = lab.send("POST", &target, "", body).await;
        assert_eq!((answer.status, answer.error().2.as_str()), (400, message));
    }
    assert_eq!(lab.send("POST", &target, "", &large[..10 << 20]).await.status, 200);
}

#[tokio::test]
async fn runs_whose_files_are_elsewhere() {
    let lab = Lab::with(|config, dir| config.artifact_roots = vec![dir.path().join("mlruns")]).await;
    let folder = |name: &str| lab.dir.path().join(name).display().to_string();
    let inside = lab.owner(1, &format!("file://{}", folder("mlruns/1"))).await;
    let outside = lab.owner(2, &folder("private")).await;
    let s3 = lab.owner(3, "s3://bucket/3").await;
    for root in [folder("mlruns/1"), folder("private")] {
        let run = if root.ends_with('1') { &inside.run } else { &outside.run };
        let artifacts = format!("{root}/{run}/artifacts");
        fs_err::create_dir_all(format!("{artifacts}/sub")).unwrap();
        fs_err::write(format!("{artifacts}/sub/file.txt"), b"0123456789").unwrap();
    }
    let listed = lab.get(&format!("{API}/artifacts/list?run_id={}", inside.run)).await.json();
    assert_eq!(listed, json!({"root_uri": inside.uri, "files": [{"path": "sub", "is_dir": true}]}));
    let listed = lab.get(&format!("{API}/artifacts/list?run_id={}&path=sub", inside.run)).await.json();
    assert_eq!(listed["files"], json!([{"path": "sub/file.txt", "is_dir": false, "file_size": 10}]));
    let target = format!("/get-artifact?run_id={}&path=sub/file.txt", inside.run);
    assert_eq!(lab.get(&target).await.body, b"0123456789");
    assert_eq!(lab.send("GET", &target, "Range: bytes=-3\r\n", b"").await.body, b"789");

    let target = format!("/get-artifact?run_id={}&path=sub/file.txt", outside.run);
    let (status, code, message) = lab.get(&target).await.error();
    assert_eq!((status, code.as_str()), (403, "PERMISSION_DENIED"));
    assert!(message.contains("which this server may not read"), "{message}");
    for target in [
        format!("{API}/artifacts/list?run_id={}", s3.run),
        format!("/get-artifact?run_id={}&path=x", s3.run),
        format!("{API}/logged-models/{}/artifacts/directories", s3.model),
    ] {
        let (status, code, message) = lab.get(&target).await.error();
        assert_eq!((status, code.as_str()), (400, "INVALID_PARAMETER_VALUE"));
        assert!(message.contains("'s3://bucket/3/"), "{message}");
    }
    for run in [&inside.run, &s3.run] {
        let target = format!("{API}/upload-artifact?run_uuid={run}&path=a");
        let answer = lab.send("POST", &target, "", b"x").await;
        assert_eq!(answer.status, 400);
        assert!(answer.error().2.contains("where clients write themselves"));
    }
    assert_eq!(lab.get(&format!("{PROXY}?path=")).await.json(), json!({}));
}
