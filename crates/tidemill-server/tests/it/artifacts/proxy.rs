//! Files by path: the answers as MLflow's client and pages read them, and what is refused.

use serde_json::json;
use tidemill_server::Config;

use super::lab::{Lab, PROXY, noise};

#[tokio::test]
async fn up_list_down_delete() {
    let lab = Lab::new().await;
    let model = "1/models/m-1/artifacts";
    for (name, bytes) in [("MLmodel", b"flavors:".to_vec()), ("data/model.pkl", noise(1, 3_000_000))] {
        let answer = lab.put(&format!("{model}/{name}"), &bytes).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})));
    }
    let listed = lab.get(&format!("{PROXY}?path={model}")).await;
    assert_eq!(listed.header("content-type"), Some("application/json"));
    assert_eq!(
        listed.json(),
        json!({"files": [
            {"path": "MLmodel", "is_dir": false, "file_size": 8},
            {"path": "data", "is_dir": true},
        ]})
    );
    assert_eq!(lab.get(&format!("{PROXY}?path={model}/MLmodel")).await.json(), json!({}));
    assert_eq!(lab.get(&format!("{PROXY}?path=nothing")).await.json(), json!({}));
    for root in [PROXY.to_owned(), format!("{PROXY}/"), format!("{PROXY}?path=")] {
        assert_eq!(lab.get(&root).await.json(), json!({"files": [{"path": "1", "is_dir": true}]}), "{root}");
    }
    let answer = lab.fetch(&format!("{model}/data/model.pkl")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == noise(1, 3_000_000));
    let answer = lab.send("DELETE", &format!("{PROXY}/{model}/data"), "", b"").await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    let (status, code, message) = lab.fetch(&format!("{model}/data/model.pkl")).await.error();
    assert_eq!((status, code.as_str()), (404, "RESOURCE_DOES_NOT_EXIST"));
    assert_eq!(message, format!("No such artifact: '{model}/data/model.pkl'"));
    let (status, code, message) = lab.fetch(model).await.error();
    assert_eq!((status, code.as_str()), (400, "INVALID_PARAMETER_VALUE"));
    assert_eq!(message, format!("Artifact path refers to a directory, not a file: '{model}'"));
    for target in [PROXY.to_owned(), format!("{PROXY}/")] {
        assert_eq!(lab.send("DELETE", &target, "", b"").await.status, 400, "{target}");
    }
    assert_eq!(lab.fetch(&format!("{model}/MLmodel")).await.status, 200);
    // The pages' own prefix.
    let alias = PROXY.replace("/api/", "/ajax-api/");
    assert_eq!(lab.get(&format!("{alias}/{model}/MLmodel")).await.body, b"flavors:");
    lab.stop().await;
}

#[tokio::test]
async fn headers_of_a_download() {
    let lab = Lab::new().await;
    let bytes = noise(2, 700_000);
    lab.put("a/b/my%20model.yaml", &bytes).await;
    let all = lab.fetch("a/b/my%20model.yaml").await;
    let tag = format!("\"{}\"", tidemill_core::Digest::of(&bytes).hex());
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-length", "700000"),
        ("content-disposition", "attachment; filename=\"my model.yaml\""),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-cache"),
        ("accept-ranges", "bytes"),
        ("etag", tag.as_str()),
    ] {
        assert_eq!(all.header(name), Some(value), "{name}");
    }
    assert!(all.header("last-modified").unwrap().ends_with(" GMT"));
    assert!(all.body == bytes);

    let target = format!("{PROXY}/a/b/my%20model.yaml");
    let head = lab.send("HEAD", &target, "", b"").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("700000"), 0));
    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=699999-", 699_999..700_000),
        ("bytes=-5", 699_995..700_000),
        ("bytes=65530-400000", 65_530..400_001),
        ("bytes=5-9999999", 5..700_000),
    ] {
        let answer = lab.send("GET", &target, &format!("Range: {range}\r\n"), b"").await;
        assert_eq!(answer.status, 206, "{range}");
        let expected = format!("bytes {}-{}/700000", part.start, part.end - 1);
        assert_eq!(answer.header("content-range"), Some(expected.as_str()));
        assert!(answer.body == bytes[part.clone()], "{range}");
    }
    let answer = lab.send("GET", &target, "Range: bytes=700000-\r\n", b"").await;
    assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */700000")));
    let answer = lab.send("GET", &target, "Range: bytes=0-1,5-6\r\n", b"").await;
    assert_eq!((answer.status, answer.body.len()), (200, 700_000));
    let answer = lab.send("GET", &target, &format!("If-None-Match: {tag}\r\n"), b"").await;
    assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (304, 0, Some(tag.as_str())));
    lab.put("a/b/my%20model.yaml", b"new").await;
    let answer = lab.send("GET", &target, &format!("If-None-Match: {tag}\r\n"), b"").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"new".as_slice()));
    // An empty file is a file.
    lab.put("empty", b"").await;
    let empty = lab.fetch("empty").await;
    assert_eq!((empty.status, empty.header("content-length"), empty.body.len()), (200, Some("0"), 0));
}

#[tokio::test]
async fn names_of_all_kinds() {
    let lab = Lab::new().await;
    // What the client sends for these names: `requests` quotes what an address cannot hold.
    for (sent, name) in [
        ("a+b=c&d.txt", "a+b=c&d.txt"),
        ("%C3%BC/%E8%AA%9E.txt", "語.txt"),
        ("a%20b", "a b"),
        ("q%3Fx", "q?x"),
        ("100%25", "100%"),
        ("a:b@c", "a:b@c"),
        ("'quote\"%22", "'quote\"\""),
    ] {
        let sent = sent.replace('"', "%22");
        assert_eq!(lab.put(&format!("names/{sent}"), name.as_bytes()).await.status, 200, "{sent}");
        let answer = lab.fetch(&format!("names/{sent}")).await;
        assert_eq!(answer.body, name.as_bytes(), "{sent}");
    }
    let listed = lab.get(&format!("{PROXY}?path=names")).await.json();
    let names: Vec<&str> =
        listed["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["'quote\"\"", "100%", "a b", "a+b=c&d.txt", "a:b@c", "q?x", "ü"]);
}

#[tokio::test]
async fn nothing_outside_is_reached() {
    let lab = Lab::new().await;
    lab.put("1/secret", b"s").await;
    let long = format!("a/{}", "n".repeat(256));
    let deep = vec!["name"; 500].join("/");
    for path in [
        "..",
        "../db",
        "a/..",
        "a/../1/secret",
        "a/../../db",
        "%2e%2e/db",
        "%2E%2E%2fdb",
        ".%2e/db",
        "a/%2e%2e/b",
        "%252e%252e/db",
        "%25252e%25252e%25252fdb",
        "a%2f..%2f..%2fdb",
        "%2fetc/passwd",
        "%252fetc%252fpasswd",
        "/etc/passwd",
        "//etc/passwd",
        "a%5cb",
        "..%5cdb",
        "%255c",
        "a%23b",
        "a%2523b",
        "a%00b",
        "a%2500b",
        "a%0ab",
        "a%0d%0aX:y",
        "a%7fb",
        "%ff%fe",
        "a/%c3%28",
        "file:%2f%2f%2fetc%2fpasswd",
        "file:etc",
        "C:%2fx",
        "c:/windows",
        &long,
        &deep,
    ] {
        for (method, body) in [("GET", b"".as_slice()), ("PUT", b"x"), ("DELETE", b"")] {
            let answer = lab.send(method, &format!("{PROXY}/{path}"), "", body).await;
            let (status, code, message) = answer.error();
            assert_eq!(
                (status, code.as_str(), message.as_str()),
                (400, "INVALID_PARAMETER_VALUE", "Invalid path"),
                "{method} {path}"
            );
        }
        let listed = lab.get(&format!("{PROXY}?path={}", path.replace('%', "%25"))).await;
        assert_eq!(listed.error().2, "Invalid path", "list {path}");
        let listed = lab.get(&format!("{PROXY}?path={path}")).await;
        // A query that is no UTF-8 is read with replacement characters, which are harmless.
        if !path.contains("%ff") && !path.contains("%c3%28") {
            assert_eq!(listed.error().2, "Invalid path", "list {path}");
        }
        let target = format!("/api/2.0/mlflow-artifacts/mpu/create/{path}");
        let created = lab.post(&target, &json!({"path": "f", "num_parts": 1})).await;
        // Of a request in JSON every text is looked at for the character NUL before it is taken for a path.
        let refused =
            if path == "a%00b" { "The request holds a text with the character NUL" } else { "Invalid path" };
        assert!(created.error().2.starts_with(refused), "create {path}: {}", created.error().2);
        let presigned = lab.get(&format!("/api/2.0/mlflow-artifacts/presigned/{path}")).await;
        assert_eq!(presigned.error().2, "Invalid path", "presigned {path}");
    }
    let listed = lab.get(PROXY).await.json();
    assert_eq!(listed, json!({"files": [{"path": "1", "is_dir": true}]}), "nothing was written");
    assert_eq!(lab.fetch("1/secret").await.body, b"s");
    let names: Vec<_> =
        fs_err::read_dir(lab.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names.iter().all(|name| name.to_string_lossy().starts_with("db") || name == "store"),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_file_and_a_folder_of_one_name() {
    let lab = Lab::new().await;
    lab.put("a/b", b"x").await;
    for path in ["a", "a/b/c"] {
        let (status, code, message) = lab.put(path, b"y").await.error();
        assert_eq!((status, code.as_str()), (400, "INVALID_PARAMETER_VALUE"));
        assert!(message.contains("both a file and a folder"), "{message}");
    }
    assert_eq!(lab.fetch("a/b").await.body, b"x");
}

#[tokio::test]
async fn a_large_folder_is_listed_whole() {
    let lab = Lab::new().await;
    let entries = lab.registry.store().put_many(&[b"x"], false).unwrap();
    let files: Vec<_> = (0..12_000)
        .map(|i| {
            let path = tidemill_registry::artifacts::ArtifactPath::parse(&format!("many/{i:05}")).unwrap();
            (path, entries[0])
        })
        .collect();
    lab.registry.link_artifacts(&files).await.unwrap();
    let listed = lab.get(&format!("{PROXY}?path=many")).await.json();
    let names: Vec<&str> =
        listed["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 12_000);
    assert_eq!((names[0], names[4_999], names[5_000], names[11_999]), ("00000", "04999", "05000", "11999"));
}

#[tokio::test]
async fn what_is_too_large_is_refused_for_good() {
    let limit = |config: &mut Config, _: &_| config.artifact_limit = 1_000_000;
    let lab = Lab::with(limit).await;
    // All of it is sent before the answer is read, as clients do; more than the sockets' buffers hold.
    let body = noise(1, 30_000_000);
    let (status, _, message) = lab.put("large", &body).await.error();
    assert_eq!(status, 413);
    assert!(message.contains("1000000 bytes"), "{message}");
    let chunked = super::stream::chunked(&lab, "large", &body).await;
    assert_eq!(chunked.error().0, 413);
    assert_eq!(lab.put("small", &body[..1_000_000]).await.status, 200);
    assert_eq!(lab.get(PROXY).await.json()["files"].as_array().unwrap().len(), 1);
}
