//! Real clients against a real server: Triton's over HTTP and gRPC, and MLflow's scoring server beside ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tidemill_serve::oip::{self, Limits};
use tidemill_serve::scoring::{self, ScoringConfig};
use tidemill_testkit::{mlflow_python, triton_python};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::fake::Fake;

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

/// Runs a script with arguments; it says what went wrong.
async fn run(python: PathBuf, script: &str, arguments: Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(&python);
        command.arg(path).args(arguments).current_dir(&root).stdin(Stdio::null()).env_clear();
        let bin = python.parent().unwrap().to_str().unwrap().to_owned();
        command.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap_or_default()));
        command.env("HOME", &root).env("LC_ALL", "C.UTF-8").output().unwrap()
    });
    let output = output.await.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{said}", output.status);
    println!("{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tritons_clients_work_unchanged() {
    let fake = Fake::new();
    let (http, http_port) = listener().await;
    let (grpc, grpc_port) = listener().await;
    let router = oip::router(fake.clone(), Limits::default());
    let web = tokio::spawn(async move { axum::serve(http, router).await.unwrap() });
    let (stop, stopped) = oneshot::channel::<()>();
    let service = oip::grpc_service(fake.clone(), Limits::default());
    let rpc = tokio::spawn(oip::serve_grpc(grpc, service, async {
        let _ = stopped.await;
    }));
    run(triton_python(), "triton.py", vec![http_port, grpc_port]).await;
    web.abort();
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), rpc).await.expect("the server stops").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mlflows_server_answers_the_same() {
    let fake: Arc<Fake> = Fake::new();
    let (http, port) = listener().await;
    let router =
        scoring::router(fake, ScoringConfig { model: Some("typed".to_owned()), ..ScoringConfig::default() });
    let web = tokio::spawn(async move { axum::serve(http, router).await.unwrap() });
    run(mlflow_python(), "mlflow_scoring.py", vec![port]).await;
    web.abort();
}
