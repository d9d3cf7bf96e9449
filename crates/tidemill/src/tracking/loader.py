"""Loads a model that Tidemill trained, for `mlflow.pyfunc.load_model`: ONNX Runtime and the signature beside it."""

import json
import os

TYPES = {
    "tensor(bool)": "bool",
    "tensor(int64)": "int64",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}


class TidemillModel:
    def __init__(self, folder):
        import onnxruntime

        self.session = onnxruntime.InferenceSession(
            os.path.join(folder, "model.onnx"), providers=["CPUExecutionProvider"]
        )
        with open(os.path.join(folder, "decision.json"), encoding="utf-8") as file:
            text = file.read()
        self.decision = json.loads(text) if text.strip() else {}

    def _column(self, spec, values):
        import numpy as np
        import pandas as pd

        values = pd.Series(values)
        if spec.type == "tensor(string)":
            column = values.map(lambda v: "" if pd.isna(v) else str(v)).to_numpy(dtype=object)
        elif spec.type in ("tensor(float)", "tensor(double)"):
            column = pd.to_numeric(values).to_numpy(dtype=TYPES[spec.type], na_value=np.nan)
        else:
            column = values.to_numpy(dtype=TYPES[spec.type])
        return column.reshape(-1, 1)

    def predict(self, data, params=None):
        import pandas as pd

        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        missing = [spec.name for spec in self.session.get_inputs() if spec.name not in frame.columns]
        if missing:
            raise ValueError(f"the model needs the columns {missing}, which are not there")
        feed = {spec.name: self._column(spec, frame[spec.name]) for spec in self.session.get_inputs()}
        names = [output.name for output in self.session.get_outputs()]
        answers = dict(zip(names, self.session.run(None, feed)))
        if "variable" in answers:
            return pd.DataFrame({"prediction": answers["variable"][:, 0]}, index=frame.index)
        result = pd.DataFrame({"label": answers["label"]}, index=frame.index)
        classes = json.loads(self.session.get_modelmeta().custom_metadata_map["tidemill.classes"])
        for i, name in enumerate(classes):
            result[f"probability_{name}"] = answers["probabilities"][:, i]
        return result


def _load_pyfunc(path):
    return TidemillModel(path)
