//! Ten thousand requests that are almost right. None may end in an error of the server, none may panic, and what they
//! leave behind in memory is nothing.

use std::sync::atomic::Ordering;

use axum::http::Method;
use serde_json::json;
use tidemill_serve::oip::{self, GrpcService, Limits};
use tidemill_serve::scoring::{self, ScoringConfig};
use tidemill_testkit::Random;

use crate::fake::{Fake, TYPES};
use crate::grpc::{call, field, framed, input};
use crate::http::Server;

/// How many requests of each kind.
const EACH: usize = 2_500;

/// Changes a body in one to three places; half of the changes keep its form.
pub(crate) fn mutate(random: &mut Random, body: &mut Vec<u8>, telling: &[&[u8]]) {
    const DEEP: [&[u8]; 3] = [b"[", b"{\"a\":", b"[["];
    for _ in 0..=random.below(3) {
        let (at, length) = random.place(body);
        let way = random.below(16);
        if way == 5 {
            let deep = DEEP[random.below(DEEP.len())].repeat(random.below(200));
            body.splice(at..at, deep);
        } else if way >= 8 {
            if let Some(digit) = body[at..].iter_mut().find(|byte| byte.is_ascii_digit() || **byte < 9) {
                *digit = (*digit & !0xf) | random.below(10) as u8;
            }
        } else if !random.damage(body, (at, length), way) {
            let told = telling[random.below(telling.len())].to_vec();
            body.splice(at..at + length, told);
        }
    }
}

/// Values that often matter in JSON.
pub(crate) const JSON: [&[u8]; 25] = [
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"-Infinity",
    b"18446744073709551616",
    b"4294967296",
    b"\"FP64\"",
    b"\"BYTES\"",
    b"\"INT8\"",
    b"[]",
    b"{}",
    b"[9223372036854775807]",
    b"\"\\ud800\"",
    b"\xff\xfe",
    b"\0",
    b",\"shape\":[999999999999,999999999999]",
    b",\"shape\":[1000000000000,0],\"data\":[]",
    b",\"shape\":[0]",
    b",\"shape\":[1,2000000000,0]",
    b",\"data\":[[1],[2]]",
    b"\"parameters\":{\"binary_data_size\":99999999999},",
    b"\"name\":\"y\",",
    b"\"datatype\":\"FP32\",",
    b"\"binary_data_size\":18446744073709551615",
];

/// Values that often matter on the wire.
pub(crate) const WIRE: [&[u8]; 10] = [
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x2a",
    b"\x3a",
    b"\x1a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x0a\x02xx",
    b"\x12\x04FP64",
    b"\x12\x05BYTES",
    b"\0",
    b"\x32\x80\x80\x80\x80\x08",
];

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        json!({"id": "1", "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [[1, 2, 3], [4, 5, 6.5]]}],
            "outputs": [{"name": "y", "parameters": {"binary_data": true}}], "parameters": {"timeout": 1_000_000}})
        .to_string(),
    ];
    let named = |datatype: &str, data: serde_json::Value| {
        json!({"inputs": [{"name": "v", "shape": [2], "datatype": datatype, "data": data}]}).to_string()
    };
    for (datatype, _) in TYPES {
        seeds.push(named(
            datatype,
            match datatype {
                "BOOL" => json!([true, false]),
                "BYTES" => json!(["a", "é\n"]),
                _ => json!([1, 2]),
            },
        ));
    }
    seeds.into_iter().map(String::into_bytes).collect()
}

/// JSON and the bytes behind it.
fn binary_seeds() -> Vec<(Vec<u8>, Vec<u8>)> {
    let part = |name: &str, shape: &[usize], datatype: &str, size: usize| json!({"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}});
    let strings = b"\x01\0\0\0a\x02\0\0\0bc".to_vec();
    vec![
        (json!({"inputs": [part("x", &[1, 3], "FP32", 12)]}).to_string().into_bytes(), vec![1; 12]),
        (json!({"inputs": [part("s", &[2], "BYTES", 11)]}).to_string().into_bytes(), strings.clone()),
        (
            json!({"inputs": [part("a", &[2], "INT64", 16), part("s", &[2], "BYTES", 11), part("b", &[1], "BOOL", 1)],
                "parameters": {"binary_data_output": true}})
            .to_string()
            .into_bytes(),
            [vec![0; 16], strings, vec![1]].concat(),
        ),
    ]
}

fn grpc_seeds() -> Vec<Vec<u8>> {
    let model = |name: &str| field(1, name.as_bytes());
    vec![
        [model("double"), input("x", "FP32", &[1, 3], None), field(7, &[0; 12])].concat(),
        [model("double"), input("x", "FP32", &[1, 3], Some(field(6, &[0; 12]))), field(6, &field(1, b"y"))]
            .concat(),
        [model("echo"), input("s", "BYTES", &[2], Some([field(8, b"a"), field(8, b"b")].concat()))].concat(),
        [
            model("echo"),
            input("i", "INT8", &[2], Some(field(2, &[1, 2]))),
            input("l", "INT64", &[1], Some(field(3, &[5]))),
        ]
        .concat(),
    ]
}

/// Resident memory in KiB.
pub(crate) fn resident() -> u64 {
    let text = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Fails where the request before left the process larger than it may be.
#[track_caller]
pub(crate) fn bounded(before: u64, what: &str, at: usize) {
    let now = resident();
    assert!(now < before + 64 * 1_024, "{what} {at}: {before} KiB grew to {now}");
}

#[tokio::test]
async fn ten_thousand_requests_that_are_almost_right() {
    let fake = Fake::new();
    fake.forgets.store(true, Ordering::Relaxed);
    let http = Server::of(fake.clone(), oip::router(fake.clone(), Limits::default()));
    let grpc: GrpcService = oip::grpc_service(fake.clone(), Limits::default());
    let config = ScoringConfig::default();
    let scored = Server::of(fake.clone(), scoring::router(fake.clone(), config));
    let mut random = Random::new(4);
    let before = resident();
    let mut answered = [0_usize; 4];

    let seeds = seeds();
    for at in 0..EACH {
        let mut body = seeds[random.below(seeds.len())].clone();
        let model = if random.below(2) == 0 { "double" } else { "echo" };
        mutate(&mut random, &mut body, &JSON);
        let shown = body.escape_ascii().to_string();
        let answer = http.ask(Method::POST, &format!("/v2/models/{model}/infer"), &[], body).await;
        assert!(answer.status.as_u16() < 500 || answer.status.as_u16() == 504, "{} {shown}", answer.status);
        answered[0] += usize::from(answer.status.is_success());
        bounded(before, "json", at);
    }

    let seeds = binary_seeds();
    for at in 0..EACH {
        let (mut json, mut bytes) = seeds[random.below(seeds.len())].clone();
        let declared = match random.below(6) {
            0 => random.below(2 * json.len()),
            1 => usize::MAX - random.below(2),
            _ => json.len(),
        };
        match random.below(3) {
            0 => mutate(&mut random, &mut json, &JSON),
            1 => mutate(&mut random, &mut bytes, &WIRE),
            _ => bytes.truncate(random.below(bytes.len() + 1)),
        }
        let body = [json, bytes].concat();
        let shown = body.escape_ascii().to_string();
        let length = declared.to_string();
        let headers = [("inference-header-content-length", length.as_str())];
        let answer = http.ask(Method::POST, "/v2/models/echo/infer", &headers, body).await;
        assert!(answer.status.as_u16() < 500 || answer.status.as_u16() == 504, "{} {shown}", answer.status);
        answered[1] += usize::from(answer.status.is_success());
        bounded(before, "binary", at);
    }

    let seeds = grpc_seeds();
    for at in 0..EACH {
        let mut message = seeds[random.below(seeds.len())].clone();
        mutate(&mut random, &mut message, &WIRE);
        let called = call(&grpc, "ModelInfer", &[], framed(&message)).await;
        // Neither unknown (2) nor internal (13): those are the server's errors.
        assert!(
            !matches!(called.code, 2 | 13 | 15),
            "{} {} {}",
            called.code,
            called.message,
            message.escape_ascii()
        );
        answered[2] += usize::from(called.code == 0);
        bounded(before, "grpc", at);
    }

    let seeds = [
        (
            "application/json",
            "{\"dataframe_split\":{\"columns\":[\"a\",\"b\"],\"index\":[0],\"data\":[[1,2.5],[3,null]]}}",
        ),
        ("application/json", "{\"dataframe_records\":[{\"a\":1,\"b\":2},{\"b\":1,\"a\":2}],\"params\":{}}"),
        ("application/json", "{\"instances\":[{\"a\":1,\"b\":2}]}"),
        ("application/json", "{\"inputs\":{\"a\":[1,2],\"b\":[3,4]}}"),
        ("text/csv", "a,b,\"c,d\"\n1,2.5,x\n3,NaN,\"y\"\"z\"\n"),
    ];
    for at in 0..EACH {
        let (kind, body) = seeds[random.below(seeds.len())];
        let mut body = body.as_bytes().to_vec();
        mutate(&mut random, &mut body, &JSON);
        let shown = body.escape_ascii().to_string();
        let models = ["table", "typed", "matrix", "images"];
        let model = models[random.below(models.len())];
        let path = format!("/endpoints/{model}/invocations");
        let answer = scored.ask(Method::POST, &path, &[("content-type", kind)], body).await;
        assert!(answer.status.as_u16() < 500, "{} {shown}", answer.status);
        answered[3] += usize::from(answer.status.is_success());
        bounded(before, "scoring", at);
    }

    println!("{} requests, answered {answered:?}, memory {} KiB to {} KiB", 4 * EACH, before, resident());
    // Mutations that change nothing that matters are answered; otherwise only the first check would be tested.
    assert!(answered.iter().all(|count| *count > EACH / 50), "{answered:?}");
}
