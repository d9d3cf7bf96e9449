//! Bodies while they arrive: ended early, slow, many at once, and how much memory they take.

use std::time::Duration;

use tidemill_core::Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::lab::{Answer, Lab, PROXY, noise};

/// Sends a body without saying how long it is.
pub(super) async fn chunked(lab: &Lab, path: &str, body: &[u8]) -> Answer {
    let mut stream = lab.connect().await;
    let head = format!(
        "PUT {PROXY}/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        lab.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in body.chunks(100_000) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
        stream.write_all(piece).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    Answer::read(&mut stream).await
}

/// The head of an upload whose body is `length` bytes long.
async fn begin(lab: &Lab, path: &str, length: usize) -> TcpStream {
    let mut stream = lab.connect().await;
    let head = format!(
        "PUT {PROXY}/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n",
        lab.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_a_length() {
    let lab = Lab::new().await;
    for length in [0, 1, 1_048_576, 1_048_577, 12_000_000] {
        let body = noise(length as u64, length);
        assert_eq!(chunked(&lab, "c", &body).await.status, 200);
        assert!(lab.fetch("c").await.body == body, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_ends_early_leaves_what_was_there() {
    let lab = Lab::new().await;
    lab.put("model", b"old").await;
    for sent in [0, 1000, 3_000_000, 15_999_999] {
        let mut stream = begin(&lab, "model", 16_000_000).await;
        stream.write_all(&noise(1, sent)).await.unwrap();
        stream.shutdown().await.unwrap();
        // The server answers or hangs up, and either way comes to an end with it.
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{sent}: {}", String::from_utf8_lossy(&rest));
        assert_eq!(lab.fetch("model").await.body, b"old", "after {sent} bytes");
    }
    let stream = begin(&lab, "new", 16_000_000).await;
    drop(stream);
    assert_eq!(lab.fetch("new").await.status, 404);
    let address = lab.address.clone();
    lab.stop().await;
    assert!(
        TcpStream::connect(address).await.is_err(),
        "it stopped although clients went away in the middle"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_stops_sending_is_given_up() {
    let lab = Lab::with(|config, _| config.stall_timeout = Duration::from_secs(1)).await;
    for length in [1000, 16_000_000] {
        let mut stream = begin(&lab, "slow", length).await;
        stream.write_all(&noise(1, length / 2)).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), Answer::read(&mut stream)).await.unwrap();
        let (status, _, message) = answer.error();
        assert_eq!(status, 400);
        assert!(message.starts_with("The artifact did not arrive completely"), "{message}");
        assert_eq!(lab.fetch("slow").await.status, 404);
    }
    // Slow but steady is fine: what counts is each pause.
    let mut stream = begin(&lab, "steady", 10).await;
    for _ in 0..10 {
        stream.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(Answer::read(&mut stream).await.status, 200);
    assert_eq!(lab.fetch("steady").await.body, b"xxxxxxxxxx");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once() {
    let lab = std::sync::Arc::new(Lab::new().await);
    let work: Vec<_> = (0..24_u64)
        .map(|i| {
            let lab = std::sync::Arc::clone(&lab);
            tokio::spawn(async move {
                // Every third goes to one path, with a content of its own.
                let path = if i % 3 == 0 { "same".to_owned() } else { format!("own/{i}") };
                let body = noise(i, if i % 2 == 0 { 20_000 } else { 2_500_000 });
                assert_eq!(lab.put(&path, &body).await.status, 200);
                let read = lab.fetch(&path).await;
                assert_eq!(read.status, 200);
                (i, path, Digest::of(&body), Digest::of(&read.body))
            })
        })
        .collect();
    let mut done = Vec::new();
    for one in work {
        done.push(one.await.unwrap());
    }
    let written: Vec<Digest> = done.iter().filter(|one| one.1 == "same").map(|one| one.2).collect();
    for (i, path, sent, read) in &done {
        if path == "same" {
            assert!(written.contains(read), "{i} read a mixture");
        } else {
            assert_eq!(sent, read, "{i}");
        }
    }
    let last = Digest::of(&lab.fetch("same").await.body);
    assert!(written.contains(&last));
}

/// The most memory that this process has taken, in MiB.
fn peak() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_the_file() {
    const SIZE: usize = 300_000_000;
    let lab = Lab::new().await;
    let block = noise(1, 1_000_000);
    let before = peak();
    let mut stream = begin(&lab, "large", SIZE).await;
    let mut hasher = tidemill_core::Hasher::new();
    for i in 0..SIZE / block.len() {
        // Blocks that differ, so that nothing is found to be there already.
        let mut block = block.clone();
        block.iter_mut().step_by(4096).for_each(|byte| *byte ^= i as u8);
        block[..8].copy_from_slice(&i.to_le_bytes());
        hasher.update(&block);
        stream.write_all(&block).await.unwrap();
    }
    assert_eq!(Answer::read(&mut stream).await.status, 200);
    let up = peak();
    let mut stream = lab.connect().await;
    let head = format!("GET {PROXY}/large HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", lab.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut buffer, mut read, mut seen) = (vec![0; 1 << 20], 0, tidemill_core::Hasher::new());
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    loop {
        let length = stream.read(&mut buffer).await.unwrap();
        if length == 0 {
            break;
        }
        read += length;
        seen.update(&buffer[..length]);
    }
    assert_eq!(read, SIZE);
    assert_eq!(seen.finish(), hasher.finish());
    let down = peak();
    assert!(up - before < 80, "the upload took {} MiB", up - before);
    assert!(down - before < 90, "the download took {} MiB more", down - up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_goes_away_harms_nobody() {
    let lab = Lab::new().await;
    let body = noise(3, 30_000_000);
    lab.put("large", &body).await;
    for _ in 0..5 {
        let mut stream = lab.connect().await;
        let head = format!("GET {PROXY}/large HTTP/1.1\r\nHost: {}\r\n\r\n", lab.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut some = [0; 1000];
        stream.read_exact(&mut some).await.unwrap();
    }
    assert!(lab.fetch("large").await.body == body);
    lab.stop().await;
}
