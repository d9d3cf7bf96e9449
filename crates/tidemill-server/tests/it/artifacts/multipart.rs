//! Uploads in parts and addresses for downloads in parts, as the client uses them.

use serde_json::{Value, json};

use super::lab::{Lab, PROXY, noise};

const MPU: &str = "/api/2.0/mlflow-artifacts/mpu";

/// The path within an address that the server gave.
fn target<'a>(lab: &Lab, url: &'a Value) -> &'a str {
    url.as_str().unwrap().strip_prefix(&format!("http://{}", lab.address)).expect("an address of this server")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_parts() {
    let lab = Lab::new().await;
    let whole = noise(1, 25_000_000);
    let parts: Vec<&[u8]> = whole.chunks(10_000_000).collect();
    let body = json!({"path": "/data/out/model.pkl", "num_parts": 3});
    let created = lab.post(&format!("{MPU}/create/1/run/artifacts/model"), &body).await.json();
    let upload = created["upload_id"].as_str().unwrap();
    let credentials = created["credentials"].as_array().unwrap();
    assert_eq!(credentials.len(), 3);
    let mut receipts = Vec::new();
    for (i, credential) in credentials.iter().enumerate().rev() {
        assert_eq!((&credential["part_number"], &credential["headers"]), (&json!(i + 1), &json!({})));
        let answer = lab.send("PUT", target(&lab, &credential["url"]), "", parts[i]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let etag = answer.header("etag").unwrap().to_owned();
        receipts.push(json!({"part_number": i + 1, "etag": etag, "url": credential["url"]}));
    }
    assert_eq!(lab.fetch("1/run/artifacts/model/model.pkl").await.status, 404);
    let mut body = json!({"path": "/data/out/model.pkl", "upload_id": upload, "parts": receipts[1..]});
    let complete = format!("{MPU}/complete/1/run/artifacts/model");
    let (status, _, message) = lab.post(&complete, &body).await.error();
    assert_eq!((status, message.as_str()), (400, "Part 3 is missing in the list of parts."));
    body["parts"] = json!(receipts);
    let answer = lab.post(&complete, &body).await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    assert!(lab.fetch("1/run/artifacts/model/model.pkl").await.body == whole);
    assert_eq!(lab.post(&complete, &body).await.status, 404);

    let presigned =
        lab.get("/api/2.0/mlflow-artifacts/presigned/1/run/artifacts/model/model.pkl").await.json();
    assert_eq!((&presigned["file_size"], &presigned["headers"]), (&json!(25_000_000), &json!({})));
    let url = target(&lab, &presigned["url"]).to_owned();
    let part = lab.send("GET", &url, "Range: bytes=24999000-24999999\r\n", b"").await;
    assert_eq!(part.status, 206);
    assert!(part.body == whole[24_999_000..]);
}

#[tokio::test]
async fn credentials_of_who_asks_go_with_the_address() {
    let lab = Lab::new().await;
    let headers = "Content-Type: application/json\r\nAuthorization: Bearer secret\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Host: ml.example.org, inner\r\n";
    let body = json!({"path": "a b.bin", "num_parts": "2"}).to_string();
    let created = lab.send("POST", &format!("{MPU}/create/d"), headers, body.as_bytes()).await.json();
    let upload = created["upload_id"].as_str().unwrap();
    for (credential, number) in created["credentials"].as_array().unwrap().iter().zip(1..) {
        assert_eq!(credential["headers"], json!({"Authorization": "Bearer secret"}));
        let url = format!("https://ml.example.org{MPU}/part/{upload}/{number}");
        assert_eq!(credential["url"], json!(url));
    }
    lab.put("d/%C3%BC%20%3F", b"x").await;
    let target = "/api/2.0/mlflow-artifacts/presigned/d/%C3%BC%20%3F";
    let presigned = lab.send("GET", target, headers, b"").await.json();
    assert_eq!(
        presigned,
        json!({
            "url": format!("https://ml.example.org{PROXY}/d/%C3%BC%20%3F"),
            "headers": {"Authorization": "Bearer secret"},
            "file_size": 1,
        })
    );
}

#[tokio::test]
async fn given_up_and_wrong() {
    let lab = Lab::new().await;
    let create = format!("{MPU}/create/d");
    let created = lab.post(&create, &json!({"path": "f", "num_parts": 1})).await.json();
    let upload = created["upload_id"].as_str().unwrap();
    let part = target(&lab, &created["credentials"][0]["url"]).to_owned();
    for wrong in [format!("{MPU}/part/{upload}/2"), format!("{MPU}/part/{upload}/x")] {
        assert_eq!(lab.send("PUT", &wrong, "", b"x").await.status, 400, "{wrong}");
    }
    let body = json!({"path": "f", "upload_id": upload});
    let answer = lab.post(&format!("{MPU}/abort/d"), &body).await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    assert_eq!(lab.send("PUT", &part, "", b"x").await.status, 404);
    for (body, status) in [
        (json!({"num_parts": 1}), 400),
        (json!({"path": "f", "num_parts": 0}), 400),
        (json!({"path": "f", "num_parts": 100_000}), 400),
        (json!({"path": "f", "num_parts": "many"}), 400),
        (json!({"path": "..", "num_parts": 1}), 400),
        (json!({"path": "a/../%2e%2e", "num_parts": 1}), 400),
    ] {
        assert_eq!(lab.post(&create, &body).await.status, status, "{body}");
    }
    assert_eq!(lab.get("/api/2.0/mlflow-artifacts/presigned/none").await.status, 404);
    // At the root of all artifacts.
    let created = lab.post(&format!("{MPU}/create"), &json!({"path": "top", "num_parts": 1})).await.json();
    let answer = lab.send("PUT", target(&lab, &created["credentials"][0]["url"]), "", b"x").await;
    let parts = json!([{"part_number": 1, "etag": answer.header("etag"), "url": ""}]);
    let body = json!({"path": "top", "upload_id": created["upload_id"], "parts": parts});
    assert_eq!(lab.post(&format!("{MPU}/complete"), &body).await.status, 200);
    assert_eq!(lab.fetch("top").await.body, b"x");
}
