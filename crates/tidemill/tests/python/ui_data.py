"""What MLflow's web pages are looked at with: one of everything that they show, logged with the client."""

import types

import harness
import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, SpanType
from mlflow.genai.scorers import scorer
from sklearn.linear_model import LinearRegression


def log_everything():
    """Logs it all into a fresh experiment; gives the names and identifiers that the pages are opened for."""
    name = harness.unique("pages")
    experiment = mlflow.set_experiment(name).experiment_id
    mlflow.set_experiment_tags({"mlflow.note.content": "Heights of tides", "team": "harbour"})
    seen = types.SimpleNamespace(name=name, experiment=experiment, runs=[])
    log_runs(seen)
    register(seen)
    log_traces(seen)
    evaluate(seen)
    return seen


def log_runs(seen):
    """Three runs with curves, system metrics and a dataset; the first has artifacts of several kinds and a model."""
    rows = pd.DataFrame({"moon": np.linspace(0.0, 1.0, 20), "wind": np.linspace(3.0, 1.0, 20)})
    dataset = mlflow.data.from_pandas(rows, name="harbour-log")
    for depth in (3, 5, 7):
        with mlflow.start_run(run_name=f"depth-{depth}", tags={"team": "tides"}) as run:
            seen.runs.append(run.info.run_id)
            mlflow.log_params({"depth": depth, "kind": "spring" if depth < 6 else "neap"})
            mlflow.log_input(dataset, context="training")
            for step in range(20):
                mlflow.log_metrics({"loss": 1 / (step + depth), "accuracy": 1 - 1 / (step + depth)}, step=step)
                mlflow.log_metric("system/cpu_utilization_percentage", 10.0 * depth + step, step=step)
            # MLflow's page that compares runs breaks where some have files and others none, unless one of those answers first.
            mlflow.log_text("high water at noon\n", "notes/readme.txt")
            if depth == 3:
                mlflow.log_dict({"harbour": "north", "depth": depth}, "conf.json")
                mlflow.log_text("<h1>Report of the tide</h1>", "report.html")
                mlflow.log_image(picture(), "chart.png")
                for step in range(2):
                    mlflow.log_image(picture(), key="gauge", step=step)
                mlflow.log_table({"question": ["how high", "how low"], "answer": ["4 m", "1 m"]}, "answers.json")
                mlflow.set_tag("mlflow.note.content", "The **first** of three")
                model = mlflow.sklearn.log_model(
                    LinearRegression().fit(rows, rows["moon"]),
                    name="tide-model",
                    input_example=rows[:2],
                    params={"solver": "exact"},
                    pip_requirements=["scikit-learn"],
                )
                seen.model = model.model_id
                mlflow.log_metric("rmse", 0.25, model_id=seen.model, dataset=dataset)


def picture():
    """A picture of 40 by 30 points, its left half red."""
    points = np.zeros((30, 40, 3), dtype=np.uint8)
    points[:, :20, 0] = 255
    return points


def register(seen):
    """Two versions of a model with description, tags and an alias; a prompt with two versions."""
    client = MlflowClient()
    client.create_registered_model(seen.name, tags={"area": "coast"}, description="how high the tide will be")
    for _ in range(2):
        client.create_model_version(seen.name, f"models:/{seen.model}", seen.runs[0], model_id=seen.model)
    client.update_model_version(seen.name, "1", "the first that swims")
    client.set_model_version_tag(seen.name, "1", "checked", "by-hand")
    client.set_registered_model_alias(seen.name, "champion", "1")
    seen.prompt = f"{seen.name}-prompt"
    for text in ("How high is {{place}}?", "How high will the tide be at {{place}}?"):
        mlflow.genai.register_prompt(seen.prompt, text, commit_message="asked anew", tags={"tone": "calm"})
    mlflow.genai.set_prompt_alias(seen.prompt, alias="live", version=2)


@mlflow.trace(span_type=SpanType.RETRIEVER)
def look_up(question):
    return [{"page_content": f"table of {question}", "metadata": {"doc_uri": "tables/7"}}]


@mlflow.trace(name="answer", span_type=SpanType.AGENT)
def answer(question):
    mlflow.update_current_trace(
        tags={"harbour": "north"}, metadata={"mlflow.trace.session": "shift-1", "mlflow.trace.user": "pilot"}
    )
    found = look_up(question)
    with mlflow.start_span("generate", span_type=SpanType.CHAT_MODEL) as span:
        span.set_inputs({"messages": [{"role": "user", "content": question}]})
        span.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 12, "output_tokens": 30, "total_tokens": 42})
        if "never" in question:
            raise ValueError("no water left")
        span.set_outputs({"choices": [{"message": {"role": "assistant", "content": "four metres"}}]})
    return f"{len(found)} table says: four metres"


def log_traces(seen):
    """Three traces of a session with spans, feedback and an expectation; one of them failed."""
    seen.traces = []
    for question in ("high at noon?", "high at six?", "high at never?"):
        try:
            answer(question)
        except ValueError:
            pass
        mlflow.flush_trace_async_logging()
        seen.traces.append(mlflow.get_last_active_trace_id())
    human = AssessmentSource(source_type="HUMAN", source_id="pilot@example.com")
    mlflow.log_feedback(trace_id=seen.traces[0], name="correct", value=True, rationale="was there", source=human)
    mlflow.log_expectation(trace_id=seen.traces[0], name="height", value="4 m", source=human)


@scorer
def is_short(outputs):
    return len(outputs) < 100


def evaluate(seen):
    """A dataset for evaluations with two records, and a run that judged them."""
    dataset = mlflow.genai.datasets.create_dataset(name=f"{seen.name}-questions", experiment_id=[seen.experiment])
    records = [
        {"inputs": {"question": question}, "expectations": {"height": "4 m"}} for question in ("at noon?", "at six?")
    ]
    dataset.merge_records(records)
    seen.dataset = dataset.dataset_id
    result = mlflow.genai.evaluate(data=dataset, predict_fn=lambda question: f"four metres {question}", scorers=[is_short])
    mlflow.flush_trace_async_logging()
    seen.evaluation = result.run_id
    seen.evaluation_name = mlflow.get_run(result.run_id).info.run_name
