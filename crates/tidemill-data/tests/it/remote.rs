//! Object-store addresses, against a small server that speaks as much S3 as reading needs.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tidemill_core::Quiet;
use tidemill_data::sql::{SqlJob, SqlTable, run};

use crate::python::flights;
use crate::read::Files;

/// Set for the process that reads from the server; the credentials must be in its environment from the start.
const OUT: &str = "TIDEMILL_TEST_REMOTE_OUT";

#[test]
fn parquet_and_csv_are_read_from_an_object_store() {
    if let Some(out) = std::env::var_os(OUT) {
        read_from_store(Path::new(&out));
        return;
    }
    let files = Files::new();
    let bucket = files.path("bucket");
    fs_err::create_dir(&bucket).unwrap();
    fs_err::copy(flights().join("airlines.parquet"), bucket.join("air lines.parquet")).unwrap();
    fs_err::write(bucket.join("seats.csv"), "carrier,seats\nUA,100\nAA,007\nB6,50\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let root = files.path("");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            std::thread::spawn(move || serve(&stream, &root));
        }
    });
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "remote::parquet_and_csv_are_read_from_an_object_store", "--nocapture"])
        .env(OUT, files.path("out"))
        .env("AWS_ENDPOINT", format!("http://{address}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    assert!(files.path("out").join("out.parquet").exists(), "{said}");
}

fn read_from_store(out: &Path) {
    fs_err::create_dir_all(out).unwrap();
    let table = |name: &str, path: &str| SqlTable {
        name: name.to_owned(),
        paths: vec![path.to_owned()],
        format: None,
    };
    let mut job = SqlJob {
        text: "select a.name, s.seats from airlines a join seats s on a.carrier = s.carrier order by a.name"
            .to_owned(),
        source: "test.sql".to_owned(),
        tables: vec![
            table("airlines", "s3://bucket/air lines.parquet"),
            table("seats", "s3://bucket/seats.csv"),
        ],
        out: out.join("out.parquet"),
        memory_limit: 64 << 20,
        spill_dir: out.join("spill"),
        partitions: 2,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(run(&job, &Quiet)).unwrap();
    assert_eq!(outcome.rows, 3);
    assert_eq!(outcome.columns[1].data_type, "Utf8");
    assert_eq!(fs_err::read_dir(out.join("spill")).unwrap().count(), 0);
    job.tables[1].paths = vec!["s3://bucket/missing.csv".to_owned()];
    let error = runtime.block_on(run(&job, &Quiet)).unwrap_err();
    assert!(error.to_string().starts_with("cannot read `s3://bucket/missing.csv`"), "{error}");
}

/// Answers HEAD and GET with ranges, path style: `/bucket/key`.
fn serve(stream: &TcpStream, root: &Path) {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let (method, path) =
            (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        let mut range = None;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) <= 2 {
                break;
            }
            let header = header.to_lowercase();
            if let Some(found) = header.trim().strip_prefix("range: bytes=") {
                range = Some(found.to_owned());
            }
        }
        let file: PathBuf =
            root.join(path.trim_start_matches('/').split('?').next().unwrap().replace("%20", " "));
        let Ok(content) = fs_err::read(&file) else {
            let _ = out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            continue;
        };
        let size = content.len();
        let (status, part) = match range.as_deref().and_then(|range| range.split_once('-')) {
            None => ("200 OK", 0..size),
            Some(("", last)) => ("206 Partial Content", size - last.parse::<usize>().unwrap()..size),
            Some((from, to)) => {
                let end = to.parse::<usize>().map_or(size, |to| (to + 1).min(size));
                ("206 Partial Content", from.parse().unwrap()..end)
            }
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Tue, 01 Jan 2013 00:00:00 GMT\r\nETag: \"x\"\r\n",
            part.len()
        );
        if status.starts_with("206") {
            answer += &format!("Content-Range: bytes {}-{}/{size}\r\n", part.start, part.end - 1);
        }
        answer += "\r\n";
        let _ = out.write_all(answer.as_bytes());
        if method == "GET" {
            let _ = out.write_all(&content[part]);
        }
    }
}
