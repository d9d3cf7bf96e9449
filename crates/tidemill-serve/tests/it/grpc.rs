//! The protocol over gRPC, without a client: messages as they are on the wire. What clients see is in `python`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use tidemill_runtime::Values;
use tidemill_serve::oip::{self, GrpcService, Limits};
use tower::ServiceExt as _;

use crate::fake::Fake;

pub(crate) struct Called {
    pub(crate) code: u32,
    pub(crate) message: String,
    pub(crate) trailers: HeaderMap,
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

pub(crate) async fn call(
    service: &GrpcService,
    method: &str,
    headers: &[(&str, &str)],
    frame: Vec<u8>,
) -> Called {
    let mut request = Request::post(format!("/inference.GRPCInferenceService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response =
        service.clone().oneshot(request.body(Body::from(Bytes::from(frame))).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let mut trailers = collected.trailers().cloned().unwrap_or_default();
    trailers.extend(parts.headers);
    let text = |name: &str| trailers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    Called {
        code: text("grpc-status").parse().unwrap_or(0),
        message: percent(&text("grpc-message")),
        trailers,
    }
}

fn percent(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            out.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            out.push(*byte);
            rest = after;
        }
    }
    String::from_utf8(out).unwrap()
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

pub(crate) fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

pub(crate) fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

pub(crate) fn input(name: &str, datatype: &str, shape: &[i64], contents: Option<Vec<u8>>) -> Vec<u8> {
    let shape: Vec<u8> = shape.iter().flat_map(|size| varint(size.cast_unsigned())).collect();
    let mut message = [field(1, name.as_bytes()), field(2, datatype.as_bytes()), field(3, &shape)].concat();
    if let Some(contents) = contents {
        message.extend(field(5, &contents));
    }
    field(5, &message)
}

fn service() -> (Arc<Fake>, GrpcService) {
    let fake = Fake::new();
    let service = oip::grpc_service(fake.clone(), Limits { message: 1 << 20, ..Limits::default() });
    (fake, service)
}

fn request(model: &str, rest: &[Vec<u8>]) -> Vec<u8> {
    framed(&[field(1, model.as_bytes()), rest.concat()].concat())
}

#[tokio::test]
async fn every_type_by_its_own_field() {
    let (fake, service) = service();
    let packed = |values: &[u64]| values.iter().flat_map(|value| varint(*value)).collect::<Vec<u8>>();
    let minus = |value: i64| value.cast_unsigned();
    let cases: Vec<(&str, Vec<u8>, Values)> = vec![
        ("BOOL", field(1, &packed(&[1, 0])), Values::Bool(vec![true, false])),
        ("INT8", field(2, &packed(&[minus(-128), 127])), Values::I8(vec![-128, 127])),
        ("INT16", [number(2, minus(-5)), number(2, 6)].concat(), Values::I16(vec![-5, 6])),
        ("INT32", field(2, &packed(&[minus(-7), 2_147_483_647])), Values::I32(vec![-7, i32::MAX])),
        ("INT64", field(3, &packed(&[minus(i64::MIN), 5])), Values::I64(vec![i64::MIN, 5])),
        ("UINT8", field(4, &packed(&[0, 255])), Values::U8(vec![0, 255])),
        ("UINT16", field(4, &packed(&[0, 65_535])), Values::U16(vec![0, 65_535])),
        ("UINT32", field(4, &packed(&[0, 4_294_967_295])), Values::U32(vec![0, u32::MAX])),
        ("UINT64", field(5, &packed(&[0, u64::MAX])), Values::U64(vec![0, u64::MAX])),
        (
            "FP32",
            field(6, &[1.5_f32.to_le_bytes(), (-0.1_f32).to_le_bytes()].concat()),
            Values::F32(vec![1.5, -0.1]),
        ),
        (
            "FP64",
            field(7, &[0.1_f64.to_le_bytes(), 2.0_f64.to_le_bytes()].concat()),
            Values::F64(vec![0.1, 2.0]),
        ),
        (
            "BYTES",
            [field(8, b"a"), field(8, b"\xff\0")].concat(),
            Values::Bytes(vec![b"a".to_vec(), b"\xff\0".to_vec()]),
        ),
    ];
    for (datatype, contents, values) in cases {
        let called =
            call(&service, "ModelInfer", &[], request("echo", &[input("v", datatype, &[2], Some(contents))]))
                .await;
        assert_eq!((called.code, called.message.as_str()), (0, ""), "{datatype}");
        assert_eq!(fake.last().inputs[0].tensor.values(), &values, "{datatype}");
    }
}

#[tokio::test]
async fn what_is_refused() {
    let (_, service) = service();
    let floats = |count: usize| field(6, &vec![0; 4 * count]);
    let raw = |bytes: &[u8]| field(7, bytes);
    let shared = field(4, &[field(1, b"shared_memory_region"), field(2, &field(3, b"r"))].concat());
    let classes = field(2, &[field(1, b"classification"), field(2, &number(2, 3))].concat());
    let x = |contents| input("x", "FP32", &[1, 3], contents);
    let timeout = |value: Vec<u8>| field(4, &[field(1, b"timeout"), field(2, &value)].concat());
    let cases: Vec<(&str, &str, Vec<Vec<u8>>)> = vec![
        ("no model", "none", vec![x(Some(floats(3)))]),
        ("busy", "busy", vec![x(Some(floats(3)))]),
        ("loading", "loading", vec![]),
        ("broken", "broken", vec![]),
        ("failed", "failed", vec![]),
        ("late", "slow", vec![timeout(number(2, 30_000))]),
        ("late by an unsigned one", "slow", vec![timeout(number(5, 30_000))]),
        ("a timeout that is none", "slow", vec![timeout(field(3, b"1s"))]),
        ("a wrong name", "double", vec![input("z", "FP32", &[1, 3], Some(floats(3)))]),
        ("too few", "double", vec![x(Some(floats(2)))]),
        ("too many", "double", vec![x(Some(floats(4)))]),
        ("no values", "double", vec![x(None)]),
        ("raw and typed", "double", vec![x(Some(floats(3))), raw(&[0; 12])]),
        ("raw for some", "double", vec![x(None), input("y", "FP32", &[1], None), raw(&[0; 12])]),
        ("raw too short", "double", vec![x(None), raw(&[0; 11])]),
        ("a huge shape", "double", vec![input("x", "FP32", &[1 << 40, 1 << 40], None), raw(&[0; 12])]),
        ("a negative size", "double", vec![input("x", "FP32", &[-1, 3], Some(floats(3)))]),
        ("an unknown type", "double", vec![input("x", "FLOAT", &[1], Some(floats(1)))]),
        ("another type's field", "double", vec![input("x", "INT32", &[1], Some(floats(1)))]),
        ("half floats that are typed", "double", vec![input("x", "FP16", &[1], Some(floats(1)))]),
        ("out of range", "double", vec![input("x", "INT8", &[1], Some(number(2, 128)))]),
        ("twice", "double", vec![x(Some(floats(3))), x(Some(floats(3)))]),
        ("shared memory", "double", vec![field(5, &[field(1, b"x"), field(2, b"FP32"), shared].concat())]),
        ("classification", "double", vec![x(Some(floats(3))), field(6, &[field(1, b"y"), classes].concat())]),
        ("a name that is no text", "double", vec![field(5, &field(1, b"\xff"))]),
        ("cut off", "double", vec![vec![0x2a, 0x7f]]),
    ];
    let mut said = Vec::new();
    for (name, model, parts) in cases {
        let called = call(&service, "ModelInfer", &[], request(model, &parts)).await;
        let pushback =
            called.trailers.get("grpc-retry-pushback-ms").map_or("", |value| value.to_str().unwrap());
        said.push(format!("{name}: {} {} pushback `{pushback}`", called.code, called.message));
    }
    for (name, headers, frame) in [
        ("a message of another kind", &[][..], framed(b"\xff\xff\xff\xff")),
        ("a length beyond the limit", &[], vec![0, 0xff, 0xff, 0xff, 0xff]),
        ("late by the head", &[("grpc-timeout", "20m")], request("slow", &[])),
    ] {
        let called = call(&service, "ModelInfer", headers, frame).await;
        said.push(format!("{name}: {} {}", called.code, called.message));
    }
    for method in [
        "ModelStatistics",
        "TraceSetting",
        "LogSettings",
        "SystemSharedMemoryRegister",
        "CudaSharedMemoryRegister",
        "SystemSharedMemoryStatus",
        "CudaSharedMemoryUnregister",
        "Nothing",
    ] {
        let called = call(&service, method, &[], framed(&field(1, b"r"))).await;
        said.push(format!("{method}: {} {}", called.code, called.message));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn what_is_passed_on_and_back() {
    let (fake, service) = service();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers =
        [("traceparent", trace), ("authorization", "Bearer x"), ("x-cohort", "new"), ("grpc-timeout", "1M")];
    let called = call(&service, "ModelInfer", &headers, request("echo", &[])).await;
    assert_eq!(called.code, 0);
    assert_eq!(called.trailers.get("traceparent").unwrap(), trace);
    let request = fake.last();
    assert_eq!(request.headers.keys().collect::<Vec<_>>(), ["traceparent", "x-cohort"]);
    assert!(request.deadline.is_some());
}

/// A request that fails is told in its answer; the next ones are answered.
#[tokio::test]
async fn a_stream_goes_on() {
    let (_, service) = service();
    let frames = [
        request("echo", &[field(3, b"one")]),
        framed(b"\xff\xff\xff"),
        request("none", &[field(3, b"three")]),
        request("echo", &[field(3, b"four")]),
    ];
    let request = Request::post("/inference.GRPCInferenceService/ModelStreamInfer")
        .header("content-type", "application/grpc")
        .body(Body::from(frames.concat()))
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap().get("grpc-status").unwrap(), "0");
    let text = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text:?}"));
    assert!(at("one") < at("not the protocol's message"));
    assert!(at("not the protocol's message") < at("there is no model"));
    assert!(at("three") < at("four"));
}

#[tokio::test]
async fn who_may_not_call_hears_so_before_anything_is_read() {
    let fake = Fake::new();
    let service = oip::grpc_service(fake.clone(), Limits::default())
        .guarded(|headers| headers.get("authorization").is_some_and(|value| value == "Bearer s3cret"));
    for headers in [&[][..], &[("authorization", "Bearer guess")][..]] {
        for method in ["ServerLive", "ModelInfer", "NoSuchMethod"] {
            let called = call(&service, method, headers, framed(&[0xff; 9])).await;
            assert_eq!((called.code, called.message.contains("token")), (16, true), "{method}");
        }
    }
    let called = call(&service, "ServerLive", &[("authorization", "Bearer s3cret")], framed(&[])).await;
    assert_eq!(called.code, 0, "{}", called.message);
}
