"""Triton's clients, unmodified, against the server of the test: HTTP_PORT GRPC_PORT."""

import asyncio
import queue
import sys

import ml_dtypes
import numpy as np
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as http
import tritonclient.http.aio as http_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

HTTP = f"127.0.0.1:{sys.argv[1]}"
GRPC = f"127.0.0.1:{sys.argv[2]}"

VALUES = [
    np.array([True, False, True]),
    np.array([0, 1, 255], np.uint8),
    np.array([0, 65535], np.uint16),
    np.array([0, 2**32 - 1], np.uint32),
    np.array([0, 2**64 - 1], np.uint64),
    np.array([-128, 127], np.int8),
    np.array([-32768, 32767], np.int16),
    np.array([[-(2**31)], [2**31 - 1]], np.int32),
    np.array([-(2**63), 2**63 - 1], np.int64),
    np.array([0.1, -65504, np.inf, np.nan], np.float16),
    np.array([0.1, 1e38, -np.inf, np.nan, 1e-45], np.float32),
    np.array([0.1, 1e308, 5e-324, np.inf, np.nan, 1 / 3], np.float64),
    np.array([[["", "a"], ["äöü", 'x"\\\n']]], np.object_),
    np.zeros((0,), np.float32),
    np.zeros((0, 3), np.int64),
    np.array([], np.object_),
    np.arange(30_000, dtype=np.float32).reshape(100, 10, 30),
]


def same(left, right):
    if right.dtype == np.object_:
        decoded = [item.decode() if isinstance(item, bytes) else item for item in left.flatten()]
        return left.shape == right.shape and decoded == list(right.flatten())
    return left.dtype == right.dtype and left.shape == right.shape and np.array_equal(
        left, right, equal_nan=right.dtype.kind == "f"
    )


def given(module, name, values, **how):
    tensor = module.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    tensor.set_data_from_numpy(values, **how)
    return tensor


def refused(call, status, words):
    try:
        call()
    except InferenceServerException as error:
        assert status in str(error.status()), (error.status(), error.message())
        assert words in error.message(), error.message()
        return
    raise AssertionError(f"not refused: {status} {words}")


def over_http():
    client = http.InferenceServerClient(HTTP, concurrency=4)
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("double") and client.is_model_ready("double", "1")
    assert not client.is_model_ready("none") and not client.is_model_ready("loading")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("double")
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}], metadata
    assert client.get_model_config("double")["input"][0]["data_type"] == "TYPE_FP32"

    for values in VALUES:
        for binary_in in (True, False):
            for binary_out in (None, True, False):
                outputs = None
                if binary_out is not None:
                    outputs = [http.InferRequestedOutput("v", binary_data=binary_out)]
                result = client.infer(
                    "echo", [given(http, "v", values, binary_data=binary_in)], outputs=outputs, request_id="r1"
                )
                assert same(result.as_numpy("v"), values), (values, binary_in, binary_out, result.as_numpy("v"))
                assert result.get_response()["id"] == "r1"
    short = np.array([0.1, 1e38, -2], ml_dtypes.bfloat16)
    assert same(client.infer("echo", [given(http, "v", short)]).as_numpy("v"), short)
    raw = np.array([b"\xff\x00", b""], np.object_)
    assert list(client.infer("echo", [given(http, "v", raw)]).as_numpy("v")) == [b"\xff\x00", b""]
    both = [given(http, "a", VALUES[3]), given(http, "b", VALUES[10], binary_data=False), given(http, "c", VALUES[12])]
    result = client.infer("echo", both, model_version="1")
    for name, values in zip("abc", (VALUES[3], VALUES[10], VALUES[12])):
        assert same(result.as_numpy(name), values), name
    assert result.get_response()["model_version"] == "1"

    for packing in ("gzip", "deflate"):
        for binary in (True, False):
            result = client.infer(
                "echo",
                [given(http, "v", VALUES[-1], binary_data=binary)],
                outputs=[http.InferRequestedOutput("v", binary_data=binary)],
                request_compression_algorithm=packing,
                response_compression_algorithm=packing,
            )
            assert same(result.as_numpy("v"), VALUES[-1]), packing

    x = given(http, "x", np.array([[1, 2, 3]], np.float32))
    waiting = [client.async_infer("double", [x], request_id=str(at)) for at in range(16)]
    for at, handle in enumerate(waiting):
        result = handle.get_result()
        assert result.get_response()["id"] == str(at)
        assert same(result.as_numpy("y"), np.array([[2, 4, 6]], np.float32))
    assert client.infer("double", [x], outputs=[http.InferRequestedOutput("total")]).as_numpy("y") is None

    refused(lambda: client.infer("none", [x]), "404", "no model")
    refused(lambda: client.infer("double", [x], model_version="9"), "404", "no version")
    refused(lambda: client.infer("double", [given(http, "z", np.zeros(3, np.float32))]), "400", "no input `z`")
    refused(lambda: client.infer("busy", [x]), "429", "waiting")
    refused(lambda: client.infer("loading", [x]), "503", "being loaded")
    refused(lambda: client.infer("broken", [x]), "500", "division")
    refused(lambda: client.infer("slow", [x], timeout=50_000), "504", "deadline")
    classes = [http.InferRequestedOutput("y", class_count=2)]
    refused(lambda: client.infer("double", [x], outputs=classes), "400", "classification")
    shared = http.InferInput("x", [1, 3], "FP32")
    shared.set_shared_memory("region", 12)
    refused(lambda: client.infer("double", [shared]), "400", "shared memory")
    refused(lambda: client.register_system_shared_memory("region", "/region", 12), "400", "not available")
    assert client.get_system_shared_memory_status() == []
    assert client.get_cuda_shared_memory_status() == []
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory("region")
    refused(lambda: client.get_inference_statistics("double"), "501", "metrics")
    refused(client.get_inference_statistics, "501", "metrics")
    refused(client.get_trace_settings, "501", "trace")
    refused(lambda: client.update_trace_settings("double", {}), "501", "trace")
    refused(client.get_log_settings, "501", "log settings")
    refused(lambda: client.update_log_settings({}), "501", "log settings")
    refused(lambda: client.get_model_metadata("none"), "404", "no model")

    index = {entry["name"]: entry for entry in client.get_model_repository_index()}
    assert index["double"]["state"] == "READY" and index["broken"]["reason"] == "golden rows differ"
    client.unload_model("double")
    assert not client.is_model_ready("double")
    refused(lambda: client.infer("double", [x]), "503", "unloaded")
    client.load_model("double")
    assert client.is_model_ready("double")
    refused(lambda: client.load_model("double", config="{}"), "400", "register")
    refused(lambda: client.load_model("none"), "404", "no model")
    client.close()


async def over_http_async():
    async with http_aio.InferenceServerClient(HTTP) as client:
        assert await client.is_server_ready()
        assert (await client.get_model_metadata("double"))["platform"] == "onnx"
        for values in VALUES:
            for binary in (True, False):
                result = await client.infer("echo", [given(http, "v", values, binary_data=binary)])
                assert same(result.as_numpy("v"), values), values
        for packing in ("gzip", "deflate"):
            result = await client.infer(
                "echo",
                [given(http, "v", VALUES[-1])],
                request_compression_algorithm=packing,
                response_compression_algorithm=packing,
            )
            assert same(result.as_numpy("v"), VALUES[-1]), packing
        x = given(http, "x", np.array([[1, 2, 3]], np.float32))
        results = await asyncio.gather(*[client.infer("double", [x], request_id=str(at)) for at in range(32)])
        assert [result.get_response()["id"] for result in results] == [str(at) for at in range(32)]
        try:
            await client.infer("none", [x])
            raise AssertionError("not refused")
        except InferenceServerException as error:
            assert "404" in str(error.status())


def over_grpc():
    client = grpc.InferenceServerClient(GRPC)
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("double") and client.is_model_ready("double", "1")
    assert not client.is_model_ready("loading")
    refused(lambda: client.is_model_ready("none"), "NOT_FOUND", "no model")
    assert client.get_server_metadata().name == "tidemill"
    metadata = client.get_model_metadata("double", as_json=True)
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "3"]}], metadata
    config = client.get_model_config("double", as_json=True)["config"]
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1", "3"]}], config

    for values in VALUES + [np.array([0.1, 1e38, -2], ml_dtypes.bfloat16)]:
        for packing in (None, "gzip", "deflate"):
            result = client.infer(
                "echo", [given(grpc, "v", values)], request_id="r1", compression_algorithm=packing
            )
            assert same(result.as_numpy("v"), values), (values, packing)
            assert result.get_response().id == "r1"
    raw = np.array([b"\xff\x00", b""], np.object_)
    assert list(client.infer("echo", [given(grpc, "v", raw)]).as_numpy("v")) == [b"\xff\x00", b""]

    x = given(grpc, "x", np.array([[1, 2, 3]], np.float32))
    done = queue.Queue()
    for at in range(16):
        client.async_infer("double", [x], callback=lambda result, error: done.put((result, error)), request_id=str(at))
    answers = [done.get(timeout=10) for _ in range(16)]
    assert all(error is None for _, error in answers), answers
    assert {result.get_response().id for result, _ in answers} == {str(at) for at in range(16)}
    client.async_infer("none", [x], callback=lambda result, error: done.put((result, error)))
    result, error = done.get(timeout=10)
    assert result is None and "NOT_FOUND" in str(error.status())
    only = client.infer("double", [x], outputs=[grpc.InferRequestedOutput("total")], model_version="1")
    assert only.as_numpy("y") is None and only.as_numpy("total")[0] == 6
    assert only.get_response().model_version == "1"

    client.start_stream(callback=lambda result, error: done.put((result, error)))
    for at in range(40):
        model = "none" if at == 7 else "double"
        client.async_stream_infer(model, [x], request_id=str(at), enable_empty_final_response=True)
    answers = [done.get(timeout=10) for _ in range(40)]
    client.stop_stream()
    for at, (result, error) in enumerate(answers):
        if at == 7:
            assert result is None and "no model" in error.message(), error
        else:
            response = result.get_response()
            assert response.id == str(at) and response.parameters["triton_final_response"].bool_param
            assert same(result.as_numpy("y"), np.array([[2, 4, 6]], np.float32))

    refused(lambda: client.infer("double", [x], model_version="9"), "NOT_FOUND", "no version")
    wrong = given(grpc, "z", np.zeros(3, np.float32))
    refused(lambda: client.infer("double", [wrong]), "INVALID_ARGUMENT", "no input `z`")
    refused(lambda: client.infer("busy", [x]), "RESOURCE_EXHAUSTED", "waiting")
    refused(lambda: client.infer("loading", [x]), "UNAVAILABLE", "being loaded")
    refused(lambda: client.infer("broken", [x]), "INTERNAL", "division")
    refused(lambda: client.infer("slow", [x], timeout=50_000), "DEADLINE_EXCEEDED", "deadline")
    refused(lambda: client.infer("slow", [x], client_timeout=0.05), "DEADLINE_EXCEEDED", "")
    classes = [grpc.InferRequestedOutput("y", class_count=2)]
    refused(lambda: client.infer("double", [x], outputs=classes), "INVALID_ARGUMENT", "classification")
    shared = grpc.InferInput("x", [1, 3], "FP32")
    shared.set_shared_memory("region", 12)
    refused(lambda: client.infer("double", [shared]), "INVALID_ARGUMENT", "shared memory")
    refused(
        lambda: client.register_system_shared_memory("region", "/region", 12), "INVALID_ARGUMENT", "not available"
    )
    assert not client.get_system_shared_memory_status().regions
    assert not client.get_cuda_shared_memory_status().regions
    client.unregister_system_shared_memory()
    refused(lambda: client.get_inference_statistics("double"), "UNIMPLEMENTED", "metrics")
    refused(client.get_trace_settings, "UNIMPLEMENTED", "trace")
    refused(client.get_log_settings, "UNIMPLEMENTED", "log settings")

    index = {entry.name: entry for entry in client.get_model_repository_index().models}
    assert index["double"].state == "READY" and index["broken"].reason == "golden rows differ"
    client.unload_model("double")
    assert not client.is_model_ready("double")
    refused(lambda: client.infer("double", [x]), "UNAVAILABLE", "unloaded")
    client.load_model("double")
    assert client.is_model_ready("double")
    refused(lambda: client.load_model("double", config="{}"), "INVALID_ARGUMENT", "register")
    client.close()


async def over_grpc_async():
    async with grpc_aio.InferenceServerClient(GRPC) as client:
        assert await client.is_server_ready()
        for values in VALUES:
            result = await client.infer("echo", [given(grpc, "v", values)])
            assert same(result.as_numpy("v"), values), values
        x = given(grpc, "x", np.array([[1, 2, 3]], np.float32))
        results = await asyncio.gather(*[client.infer("double", [x], request_id=str(at)) for at in range(32)])
        assert [result.get_response().id for result in results] == [str(at) for at in range(32)]

        async def requests():
            for at in range(20):
                yield {"model_name": "double", "inputs": [x], "request_id": str(at)}

        at = 0
        async for result, error in client.stream_infer(requests()):
            assert error is None and result.get_response().id == str(at), error
            at += 1
        assert at == 20


over_http()
asyncio.run(over_http_async())
over_grpc()
asyncio.run(over_grpc_async())
print(f"triton: {len(VALUES)} arrays over both transports")
