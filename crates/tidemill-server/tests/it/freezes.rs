//! Freezes that are planned: by the form of the page of delivery and by the API.

use serde_json::json;

use crate::client::Server;
use crate::ui::{csrf, form, page};

#[tokio::test]
async fn a_freeze_is_planned() {
    let server = Server::start().await;
    let token = csrf(&page(&server, "/delivery").await);
    // It is 2023-11-14T22:13:20Z.
    let send = async |from: &str, until: &str| {
        let fields = [
            ("csrf", token.as_str()),
            ("reason", "the books are closed"),
            ("endpoint", "late"),
            ("from", from),
            ("until", until),
        ];
        form(&server, "/ui/freezes", &fields, &[]).await
    };
    send("2023-11-14 22:00", "until lifted").await.is(409, &["would have begun already"]);
    send("2023-12-20 00:00", "2023-12-20").await.is(409, &["would end before it begins"]);
    send("soon", "").await.is(400, &["is not a time"]);
    assert_eq!(send("2023-12-20 08:00", "2023-12-31").await.status, 303);
    let planned = page(&server, "/delivery").await;
    planned.is(200, &["the books are closed", "to come", "2023-12-20 08:00", "Lift freeze 1"]);

    let list = server.get("/api/v1/freezes").await.json();
    assert_eq!(
        list["data"],
        json!([{"freeze": 1, "endpoint": "late", "reason": "the books are closed", "owner": "grace",
            "from": "2023-12-20T08:00:00Z", "until": "2023-12-31T00:00:00Z"}])
    );
    let post = async |path: &str, body: serde_json::Value| {
        server.ask("POST", &format!("/api/v1/freezes{path}"), &[], &body.to_string()).await
    };
    let wanted = json!({"reason": "an incident", "from": "2023-11-14T22:13:21Z"});
    assert_eq!(post("", wanted).await.json()["data"], json!({"freeze": 2}));
    post("", json!({"reason": "late", "from": "2023-11-14T22:13:19Z"})).await.is(409, &["begun already"]);
    post("", json!({"reason": "x", "form": "2024-01-01T00:00:00Z"})).await.is(400, &["unknown field `form`"]);
    post("", json!({"reason": "x", "endpoint": ""})).await.is(400, &["leave it out"]);
    // What was planned can be seen in the log, and lifted before it begins.
    page(&server, "/log?kind=freeze.set")
        .await
        .is(200, &["since 2023-12-20 08:00", "since 2023-11-14 22:13"]);
    assert_eq!(post("/1/lift", json!({})).await.json()["data"], json!({"freeze": 1}));
    post("/1/lift", json!({})).await.is(404, &["there is no freeze 1", "/api/v1/freezes"]);
    let shown = server.get("/delivery?format=json").await.json();
    assert_eq!(shown["data"]["freezes"]["rows"].as_array().map(Vec::len), Some(2), "{shown}");
}
