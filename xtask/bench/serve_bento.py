"""An ONNX model as a service of BentoML. The file of the model is in the variable MODEL."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Classifier:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        # A row is too little work to share; threads that wait for more would use CPU.
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        [probabilities] = self.session.run(["probabilities"], {"X": rows.astype(np.float32)})
        return probabilities
