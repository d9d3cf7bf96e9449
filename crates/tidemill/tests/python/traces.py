"""Traces: decorated functions, search, tags, feedback, links to runs, deletion; and spans from plain OpenTelemetry."""

import time
import uuid

import harness
import mlflow
from harness import refused, same, unique
from mlflow import MlflowClient
from mlflow.entities import SpanType


@mlflow.trace(span_type=SpanType.RETRIEVER, attributes={"k": 3})
def retrieve(query):
    return [f"{query} {number}" for number in range(3)]


@mlflow.trace(name="answer", span_type=SpanType.CHAIN)
def answer(query, fail=False):
    documents = retrieve(query)
    with mlflow.start_span("generate") as span:
        span.set_inputs({"documents": documents})
        span.set_attribute("temperature", 0.5)
        if fail:
            raise ValueError("on purpose")
        span.set_outputs({"text": "größe ✓"})
    return documents[0]


def traced(*arguments, **options):
    """Runs the traced function and returns the id of its trace, when the server has it."""
    try:
        answer(*arguments, **options)
    except ValueError:
        pass
    mlflow.flush_trace_async_logging()
    return mlflow.get_last_active_trace_id()


def check_a_trace_is_read_as_it_was_written():
    there = mlflow.set_experiment(unique("trace")).experiment_id
    trace = mlflow.get_trace(traced("why"))
    info = trace.info
    same((info.state, info.experiment_id), ("OK", there), "trace")
    assert info.trace_id.startswith("tr-") and info.execution_duration >= 0, info
    spans = {span.name: span for span in trace.data.spans}
    same(sorted(spans), ["answer", "generate", "retrieve"], "spans")
    root = spans["answer"]
    same((root.parent_id, spans["generate"].parent_id), (None, root.span_id), "parents")
    same(root.inputs, {"query": "why", "fail": False}, "inputs")
    same((root.outputs, spans["generate"].outputs), ("why 0", {"text": "größe ✓"}), "outputs")
    same((spans["retrieve"].span_type, spans["retrieve"].attributes["k"]), ("RETRIEVER", 3), "span")
    same(spans["generate"].attributes["temperature"], 0.5, "attribute")
    for span in spans.values():
        assert root.start_time_ns <= span.start_time_ns <= span.end_time_ns <= root.end_time_ns, span
    assert "why" in info.request_preview and "why 0" in info.response_preview, info


def check_a_failed_trace():
    mlflow.set_experiment(unique("failed"))
    trace = mlflow.get_trace(traced("why", fail=True))
    same(trace.info.state, "ERROR", "state")
    [span] = [span for span in trace.data.spans if span.name == "generate"]
    same(span.status.status_code.value, "ERROR", "status")
    assert any(event.name == "exception" and "on purpose" in str(event.attributes) for event in span.events), span.events


def check_traces_are_searched():
    there = mlflow.set_experiment(unique("search")).experiment_id
    ids = []
    for index in range(6):
        trace_id = traced(f"q{index}", fail=index == 4)
        mlflow.set_trace_tag(trace_id, "parity", "even" if index % 2 == 0 else "odd")
        ids.append(trace_id)
        time.sleep(0.002)

    def found(text=None, **options):
        traces = mlflow.search_traces(locations=[there], filter_string=text, return_type="list", **options)
        return [ids.index(trace.info.trace_id) for trace in traces]

    same(found(), [5, 4, 3, 2, 1, 0], "the newest first")
    for text, expected in [
        ("trace.status = 'ERROR'", [4]),
        ("status = 'OK'", [5, 3, 2, 1, 0]),
        ("tags.parity = 'even'", [4, 2, 0]),
        ("tag.parity != 'even' AND status = 'OK'", [5, 3, 1]),
        ("attributes.name = 'answer'", [5, 4, 3, 2, 1, 0]),
        ("timestamp_ms > 1700000000000", [5, 4, 3, 2, 1, 0]),
        ("execution_time_ms > 1000000", []),
        ("span.name = 'generate'", [5, 4, 3, 2, 1, 0]),
    ]:
        same(found(text), expected, text)
    same(found(order_by=["timestamp_ms ASC"]), [0, 1, 2, 3, 4, 5], "the oldest first")
    same(found(max_results=2), [5, 4], "at most two")
    frame = mlflow.search_traces(locations=[there])
    same((len(frame), {"trace_id", "state", "spans"} <= set(frame.columns)), (6, True), "frame")

    client = MlflowClient()
    same(client.delete_traces(there, trace_ids=ids[:2]), 2, "deleted")
    same(found(), [5, 4, 3, 2], "after two were deleted")
    same(client.delete_traces(there, max_timestamp_millis=int(time.time() * 1000) + 1000), 4, "deleted by time")
    same(found(), [], "after all were deleted")
    refused(lambda: found("nothing ~ 'x'"), "INVALID_PARAMETER_VALUE")


def check_assessments_and_tags():
    mlflow.set_experiment(unique("feedback"))
    trace_id = traced("why")
    feedback = mlflow.log_feedback(trace_id=trace_id, name="correct", value=True, rationale="it is", metadata={"by": "test"})
    mlflow.log_expectation(trace_id=trace_id, name="expected", value={"text": "größe"})
    mlflow.set_trace_tag(trace_id, "kept", "1")
    mlflow.set_trace_tag(trace_id, "gone", "2")
    mlflow.delete_trace_tag(trace_id, "gone")
    info = mlflow.get_trace(trace_id).info
    found = {assessment.name: assessment for assessment in info.assessments}
    same((found["correct"].value, found["correct"].rationale), (True, "it is"), "feedback")
    same(found["expected"].value, {"text": "größe"}, "expectation")
    assert info.tags.get("kept") == "1" and "gone" not in info.tags, info.tags
    changed = mlflow.entities.Feedback(name="correct", value=False)
    mlflow.update_assessment(trace_id, feedback.assessment_id, changed)
    same(mlflow.get_assessment(trace_id, feedback.assessment_id).value, False, "updated feedback")
    mlflow.delete_assessment(trace_id, feedback.assessment_id)
    same([a.name for a in mlflow.get_trace(trace_id).info.assessments], ["expected"], "after one was deleted")


def check_traces_of_a_run():
    there = mlflow.set_experiment(unique("run")).experiment_id
    with mlflow.start_run() as run:
        inside = traced("inside")
    outside = traced("outside")
    found = mlflow.search_traces(locations=[there], run_id=run.info.run_id, return_type="list")
    same([trace.info.trace_id for trace in found], [inside], "traces of the run")
    MlflowClient().link_traces_to_run([outside], run.info.run_id)
    found = mlflow.search_traces(locations=[there], run_id=run.info.run_id, return_type="list")
    same({trace.info.trace_id for trace in found}, {inside, outside}, "traces after one was linked")


def check_spans_of_opentelemetry():
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    for compression in [Compression.NoCompression, Compression.Gzip]:
        there = MlflowClient().create_experiment(unique("otlp"))
        exporter = OTLPSpanExporter(
            f"{harness.url()}/v1/traces", headers={"x-mlflow-experiment-id": there}, compression=compression
        )
        provider = TracerProvider(resource=Resource.create({"service.name": "test"}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        # The server makes the trace when it sees the root, which ends last.
        with tracer.start_as_current_span("root") as root:
            root.set_attribute("size", 7)
            with tracer.start_as_current_span("leaf") as leaf:
                leaf.set_attribute("deep", True)
        provider.shutdown()
        [trace] = mlflow.search_traces(locations=[there], return_type="list")
        spans = {span.name: span for span in trace.data.spans}
        same(sorted(spans), ["leaf", "root"], "spans")
        same((spans["root"].attributes["size"], spans["leaf"].attributes["deep"]), (7, True), "attributes")
        same(spans["leaf"].parent_id, spans["root"].span_id, "parent")


def check_spans_of_generative_ai_are_understood():
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    there = MlflowClient().create_experiment(unique("genai"))
    headers = {"x-mlflow-experiment-id": there}
    exporter = OTLPSpanExporter(f"{harness.url()}/v1/traces", headers=headers, compression=Compression.Deflate)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("chat") as span:
        span.set_attributes({
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "small",
            "gen_ai.provider.name": "somebody",
            "gen_ai.usage.input_tokens": 3,
            "gen_ai.usage.output_tokens": 4,
            "session.id": "session 1",
            "user.id": "ana",
        })
    provider.shutdown()
    [trace] = mlflow.search_traces(locations=[there], return_type="list")
    [span] = trace.data.spans
    same((span.span_type, span.get_attribute("mlflow.llm.model")), ("CHAT_MODEL", "small"), "kind and model")
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    same(trace.info.token_usage, usage, "tokens")
    same(trace.info.trace_metadata["mlflow.trace.session"], "session 1", "session")
    same(trace.info.trace_metadata["mlflow.trace.user"], "ana", "user")
    found = mlflow.search_traces(
        locations=[there], filter_string="metadata.`mlflow.trace.session` = 'session 1'", return_type="list"
    )
    same(len(found), 1, "found by its session")


def check_requests_of_opentelemetry_as_json():
    import requests

    there = MlflowClient().create_experiment(unique("json"))
    span = {
        "traceId": uuid.uuid4().hex,
        "spanId": "0102030405060708",
        "name": "root",
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000250000000",
        "attributes": [{"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"doubleValue": 0.5}]}}}],
        "events": [{"name": "event", "timeUnixNano": "1700000000100000000"}],
        "status": {"code": 2, "message": "boom"},
    }
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}

    def send(body, experiment=there):
        headers = {} if experiment is None else {"x-mlflow-experiment-id": experiment}
        return requests.post(f"{harness.url()}/v1/traces", json=body, headers=headers, timeout=60)

    for _ in range(2):
        same(send(body).status_code, 200, "status")
    trace = mlflow.get_trace(f"tr-{span['traceId']}")
    same((trace.info.state, trace.info.request_time, trace.info.execution_duration), ("ERROR", 1700000000000, 250), "trace")
    [read] = trace.data.spans
    same((read.get_attribute("list"), read.status.description), ([1, 0.5], "boom"), "span")
    same([event.name for event in read.events], ["event"], "events")
    same(send(body, None).status_code, 422, "without an experiment")
    empty = send({})
    same((empty.status_code, empty.json()["detail"]), (400, "Invalid OpenTelemetry format - no spans found"), "empty")
    headers = {"x-mlflow-experiment-id": there, "content-type": "application/json"}
    broken = requests.post(f"{harness.url()}/v1/traces", data="{", headers=headers, timeout=60)
    same((broken.status_code, broken.json()["detail"]), (400, "Invalid OpenTelemetry format"), "malformed")
    same(send({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "00"}]}]}]}).status_code, 422, "without identifiers")


def check_charts():
    import requests

    there = mlflow.set_experiment(unique("charts")).experiment_id
    for fail in [False, False, True]:
        traced("why", fail=fail)
    trace_id = mlflow.get_last_active_trace_id()
    mlflow.log_feedback(trace_id=trace_id, name="score", value=0.5)

    def points(view, metric, aggregations, **options):
        body = {"experiment_ids": [there], "view_type": view, "metric_name": metric, **options}
        body["aggregations"] = aggregations
        answer = requests.post(f"{harness.url()}/api/3.0/mlflow/traces/metrics", json=body, timeout=60)
        same(answer.status_code, 200, answer.text)
        return [(p.get("dimensions", {}), p["values"]) for p in answer.json()["data_points"]]

    count = [{"aggregation_type": "COUNT"}]
    same(points("TRACES", "trace_count", count), [({}, {"COUNT": 3})], "count")
    same(
        points("TRACES", "trace_count", count, dimensions=["trace_name", "trace_status"]),
        [
            ({"trace_name": "answer", "trace_status": "ERROR"}, {"COUNT": 1}),
            ({"trace_name": "answer", "trace_status": "OK"}, {"COUNT": 2}),
        ],
        "count by state",
    )
    same(points("TRACES", "trace_count", count, filters=["trace.status = 'OK'"]), [({}, {"COUNT": 2})], "filtered")
    kinds = points("SPANS", "span_count", count, dimensions=["span_type"])
    same({d["span_type"]: v["COUNT"] for d, v in kinds}, {"CHAIN": 3, "RETRIEVER": 3, "UNKNOWN": 3}, "kinds")
    latency = [{"aggregation_type": "AVG"}, {"aggregation_type": "PERCENTILE", "percentile_value": 99}]
    [(where, values)] = points(
        "TRACES", "latency", latency, time_interval_seconds=10**9, start_time_ms=0, end_time_ms=2 * 10**12
    )
    same((set(values), set(where)), ({"AVG", "P99.0"}, {"time_bucket"}), "latency")
    score = [{"aggregation_type": "MAX"}]
    said = points("ASSESSMENTS", "assessment_value", score, dimensions=["assessment_name"])
    same(said, [({"assessment_name": "score"}, {"MAX": 0.5})], "assessments")
    same(points("TRACES", "trace_count", count, experiment_ids=["123456789"]), [({}, {"COUNT": 0})], "nowhere")


def check_feedback_that_replaces_other_feedback():
    mlflow.set_experiment(unique("override"))
    trace_id = traced("why")
    first = mlflow.log_feedback(trace_id=trace_id, name="score", value=0.5)
    second = mlflow.override_feedback(trace_id=trace_id, assessment_id=first.assessment_id, value=0.9)
    same(mlflow.get_assessment(trace_id, first.assessment_id).valid, False, "replaced")
    mlflow.delete_assessment(trace_id, second.assessment_id)
    same(mlflow.get_assessment(trace_id, first.assessment_id).valid, True, "after the other was deleted")
    refused(lambda: mlflow.get_assessment(trace_id, "a-none"), "RESOURCE_DOES_NOT_EXIST", "a-none")
    refused(lambda: mlflow.log_feedback(trace_id="tr-none", name="x", value=1), "RESOURCE_DOES_NOT_EXIST", "tr-none")


def check_evaluation_datasets():
    from mlflow.genai import datasets

    there = mlflow.set_experiment(unique("evaluation")).experiment_id
    name = unique("questions")
    dataset = datasets.create_dataset(name=name, experiment_id=[there], tags={"team": "tides"})
    dataset.merge_records([
        {"inputs": {"q": "a"}, "expectations": {"e": 1}},
        {"inputs": {"q": "b"}, "outputs": {"o": 1.5}},
    ])
    dataset.merge_records([{"inputs": {"q": "a"}, "expectations": {"e": 2, "f": [1]}}])
    records = {record["inputs"]["q"]: record for record in dataset.to_df().to_dict("records")}
    same((sorted(records), records["a"]["expectations"]), (["a", "b"], {"e": 2, "f": [1]}), "records")
    dataset.merge_records([mlflow.get_trace(traced("why"))])
    read = datasets.get_dataset(dataset_id=dataset.dataset_id)
    same((read.name, len(read.to_df())), (name, 3), "dataset")
    same(read.tags["team"], "tides", "tag")
    found = datasets.search_datasets(experiment_ids=[there], filter_string=f"name = '{name}'")
    same([one.dataset_id for one in found], [dataset.dataset_id], "found")
    same(datasets.search_datasets(experiment_ids=[there], filter_string="name LIKE 'none%'"), [], "not found")
    datasets.set_dataset_tags(dataset_id=dataset.dataset_id, tags={"team": "mills", "other": "1"})
    datasets.delete_dataset_tag(dataset_id=dataset.dataset_id, key="other")
    tags = datasets.get_dataset(dataset_id=dataset.dataset_id).tags
    same((tags["team"], "other" in tags), ("mills", False), "tags")
    [gone] = read.to_df().query("source_type == 'TRACE'").dataset_record_id
    same(read.delete_records([gone]), 1, "deleted records")
    datasets.delete_dataset(dataset_id=dataset.dataset_id)
    refused(lambda: datasets.get_dataset(dataset_id=dataset.dataset_id), "RESOURCE_DOES_NOT_EXIST", "not found")


if __name__ == "__main__":
    harness.main()
