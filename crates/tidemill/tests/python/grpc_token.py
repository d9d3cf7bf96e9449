"""Triton's gRPC client, unmodified, at a server that asks for a token: ADDRESS TOKEN."""

import base64
import sys

import numpy as np
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

ADDRESS, TOKEN = sys.argv[1:3]
COLUMNS = {"a": np.array([[0.5]]), "b": np.array([[-1.25]]), "n": np.array([[3]], np.int64),
           "colour": np.array([["red"]], np.object_), "flag": np.array([[True]])}


def infer(client, headers):
    inputs = []
    for name, values in COLUMNS.items():
        tensor = grpc.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    return client.infer("ridge", inputs, headers=headers)


client = grpc.InferenceServerClient(ADDRESS)
basic = base64.b64encode(f"ana:{TOKEN}".encode()).decode()
for headers in ({"authorization": f"Bearer {TOKEN}"}, {"authorization": f"Basic {basic}"}):
    assert client.is_server_ready(headers=headers)
    answer = infer(client, headers)
    name = answer.get_response().outputs[0].name
    assert np.isfinite(answer.as_numpy(name)).all(), answer.get_response()
for headers in (None, {}, {"authorization": "Bearer guess"}, {"authorization": "Basic " + base64.b64encode(b"ana:x").decode()}):
    for call in (lambda: client.is_server_ready(headers=headers), lambda: infer(client, headers)):
        try:
            call()
        except InferenceServerException as error:
            assert "UNAUTHENTICATED" in str(error.status()) and "token" in error.message(), error
        else:
            raise AssertionError(f"let in with {headers}")
print("ok")
