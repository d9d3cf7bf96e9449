"""Saves a LightGBM model as MLflow's own: MODEL.txt OUT."""

import sys

import lightgbm
import mlflow.lightgbm
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

path, out = sys.argv[1:]
booster = lightgbm.Booster(model_file=path)
table = pd.DataFrame(np.zeros((2, 30)), columns=[f"x{index:02}" for index in range(30)])
mlflow.lightgbm.save_model(booster, out, signature=infer_signature(table, booster.predict(table)))
