"""Answers calls for one MLflow model; started by Tidemill, which holds the other end of the socket on descriptor 0.

Frames in both directions: one byte of kind, four bytes of length (little-endian), the payload.
  H  to Tidemill: what the model takes and gives, JSON, once at the start
  Q  from Tidemill: a call, one Arrow record batch as an IPC stream; a tensor is a column, its rows flattened into lists
     of fixed size, with the shape of a row in the field's metadata; parameters are JSON in the schema's metadata
  A  to Tidemill: the answer, in the same form
  E  to Tidemill: the model failed: JSON with `kind`, `message`, `where`
"""
import json
import os
import socket
import struct
import sys
import threading
import time
import traceback


def limits(memory, cpu_seconds):
    import resource

    # The limit of memory counts addresses, of which threads and libraries reserve far more than they use.
    for kind, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu_seconds)):
        if value:
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (value if hard < 0 else min(value, hard), hard))


def watch(parent):
    """Ends this process when Tidemill is gone, also in the middle of a call."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(3)


class Channel:
    def __init__(self):
        self.socket = socket.socket(fileno=os.dup(0))

    def read(self, count):
        parts, left = [], count
        while left:
            part = self.socket.recv(min(left, 1 << 20))
            if not part:
                # The other end was closed: nobody wants answers any more.
                os._exit(0)
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def receive(self):
        kind, length = struct.unpack("<cI", self.read(5))
        return kind, self.read(length)

    def send(self, kind, payload):
        try:
            self.socket.sendall(struct.pack("<cI", kind, len(payload)) + payload)
        except OSError:
            os._exit(0)


COLUMN_TYPES = {
    "boolean": "bool", "integer": "int32", "long": "int64", "float": "float32", "double": "float64",
    "string": "string", "binary": "bytes", "datetime": "datetime",
}


def describe(schema, unnamed):
    """A signature's schema as a list of slots; None where there is none or it holds what no tensor can."""
    if schema is None:
        return None
    slots = []
    for place, spec in enumerate(schema.inputs):
        name = spec.name if spec.name is not None else (unnamed if len(schema.inputs) == 1 else str(place))
        optional = not getattr(spec, "required", True)
        if hasattr(spec, "shape"):
            kind = spec.type.name if spec.type.kind not in "OSU" else "string"
            slots.append({"name": str(name), "type": kind, "shape": list(spec.shape), "optional": optional})
        else:
            kind = COLUMN_TYPES.get(getattr(spec.type, "name", ""))
            if kind is None:
                return None
            slots.append({"name": str(name), "type": kind, "shape": [-1], "optional": optional})
    return slots


class Model:
    def __init__(self, folder):
        import mlflow.pyfunc

        self.model = mlflow.pyfunc.load_model(folder)
        metadata = self.model.metadata
        signature = metadata.signature
        inputs = signature.inputs if signature else None
        self.inputs = describe(inputs, "input")
        self.outputs = describe(signature.outputs if signature else None, "predictions")
        self.params = bool(signature is not None and getattr(signature, "params", None))
        self.is_tensor = bool(inputs is not None and inputs.is_tensor_spec())
        self.datetimes = [slot["name"] for slot in self.inputs or () if slot["type"] == "datetime"]
        # Without a signature of the answer an example shows what it looks like.
        if self.inputs and self.outputs is None:
            example = self.example(metadata, folder)
            if example is not None:
                self.outputs = [
                    {"name": name, "type": kind_of(array), "shape": [-1, *array.shape[1:]], "optional": False}
                    for name, array in self.arrays(self.model.predict(example)).items()
                ]

    def example(self, metadata, folder):
        if metadata.saved_input_example_info is None:
            return None
        try:
            return metadata.load_input_example(folder)
        except Exception:  # An example that cannot be read tells nothing; the model may work all the same.
            traceback.print_exc()
            return None

    def hello(self):
        return {"inputs": self.inputs, "outputs": self.outputs, "is_tensor": self.is_tensor, "params": self.params, "python": sys.version.split()[0]}

    def predict(self, batch):
        import numpy as np
        import pandas as pd

        columns = {}
        for field, column in zip(batch.schema, batch.columns):
            shape = json.loads((field.metadata or {}).get(b"shape", b"null"))
            if shape is None:
                columns[field.name] = column
                continue
            values = column.flatten() if hasattr(column, "flatten") else column
            array = values.to_numpy(zero_copy_only=False)
            columns[field.name] = array.reshape((len(column), *shape))
        if self.is_tensor:
            arrays = {name: column if isinstance(column, np.ndarray) else column.to_numpy(zero_copy_only=False)
                      for name, column in columns.items()}
            named = self.model.metadata.signature.inputs.has_input_names()
            data = arrays if named else next(iter(arrays.values()))
        else:
            series = {name: list(column) if isinstance(column, np.ndarray) else column.to_pandas()
                      for name, column in columns.items()}
            for name in self.datetimes:
                if name in series:
                    series[name] = pd.to_datetime(series[name])
            data = pd.DataFrame(series, columns=list(series))
        params = (batch.schema.metadata or {}).get(b"params")
        if params is None:
            return self.arrays(self.model.predict(data))
        return self.arrays(self.model.predict(data, params=json.loads(params)))

    def arrays(self, result):
        """What `predict` gave, as arrays by name."""
        import numpy as np
        import pandas as pd

        names = [slot["name"] for slot in self.outputs or ()]
        if isinstance(result, list) and result and isinstance(result[0], dict):
            result = pd.DataFrame(result)
        if isinstance(result, pd.DataFrame):
            return {str(name): np.asarray(result[name]) for name in result.columns}
        if isinstance(result, dict):
            return {str(name): np.atleast_1d(np.asarray(value)) for name, value in result.items()}
        if hasattr(result, "toarray"):
            result = result.toarray()
        array = np.atleast_1d(np.asarray(result))
        if len(names) > 1 and array.ndim == 2 and array.shape[1] == len(names):
            return {name: array[:, place] for place, name in enumerate(names)}
        return {names[0] if len(names) == 1 else "predictions": array}


def kind_of(array):
    if array.dtype.kind in "OSU":
        return "string"
    if array.dtype.kind in "M":
        return "datetime"
    return array.dtype.name


def encode(arrays):
    import numpy as np
    import pyarrow as pa

    fields, columns = [], []
    for name, array in arrays.items():
        shape = array.shape[1:]
        flat = array.reshape(-1)
        if flat.dtype.kind == "M":
            flat = np.datetime_as_string(flat)
        if flat.dtype.kind in "OSU":
            values = pa.array([None if value is None else value if isinstance(value, (str, bytes)) else str(value)
                               for value in flat.tolist()])
        else:
            values = pa.array(flat)
        metadata = None
        if len(array.shape) > 1:
            width = int(np.prod(shape, dtype=np.int64))
            values = pa.FixedSizeListArray.from_arrays(values, width) if width else pa.array([[]] * len(array))
            metadata = {"shape": json.dumps(list(shape))}
        fields.append(pa.field(name, values.type, metadata=metadata))
        columns.append(values)
    batch = pa.record_batch(columns, schema=pa.schema(fields))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def failure(error):
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f"{os.path.basename(last.filename)}:{last.lineno}" if last else ""
    return json.dumps({"kind": type(error).__name__, "message": str(error)[:4000], "where": place}).encode()


def main():
    folder, parent, memory, cpu_seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    channel = Channel()
    # What the model prints is no answer, and it must not read what was meant for us.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    limits(memory, cpu_seconds)
    threading.Thread(target=watch, args=(parent,), daemon=True).start()
    try:
        model = Model(folder)
    except Exception as error:
        traceback.print_exc()
        channel.send(b"E", failure(error))
        return 1
    import pyarrow as pa

    channel.send(b"H", json.dumps(model.hello()).encode())
    while True:
        kind, payload = channel.receive()
        if kind != b"Q":
            return 2
        try:
            batch = pa.ipc.open_stream(payload).read_next_batch()
            answer = encode(model.predict(batch))
        except Exception as error:
            traceback.print_exc()
            channel.send(b"E", failure(error))
        else:
            channel.send(b"A", answer)


if __name__ == "__main__":
    sys.exit(main())
