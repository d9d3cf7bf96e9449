"""A hand-written server of one ONNX model: FastAPI and ONNX Runtime. The file of the model is in the variable MODEL."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

KINDS = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64"}


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Asked(BaseModel):
    inputs: list[Tensor]


class Answer(BaseModel):
    outputs: list[Tensor]


options = onnxruntime.SessionOptions()
# A row is too little work to share; threads that wait for more would use CPU.
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
app = FastAPI()


@app.get("/health")
async def health() -> str:
    return "OK"


# The answer takes microseconds: on the event loop it costs less than on a thread of the pool.
@app.post("/predict")
async def predict(asked: Asked) -> Answer:
    feed = {part.name: np.array(part.data, np.float32).reshape(part.shape) for part in asked.inputs}
    answers = zip(names, session.run(names, feed))
    return Answer(
        outputs=[
            Tensor(name=name, shape=list(values.shape), datatype=KINDS[values.dtype], data=values.ravel().tolist())
            for name, values in answers
        ]
    )
