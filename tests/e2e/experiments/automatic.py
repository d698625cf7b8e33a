"""Scikit-learn under `autolog()`: nothing of what a fit is made of is logged by hand."""

import numpy as np
from google.cloud import aiplatform
from opening import answer, init_experiment, init_place
from sklearn.linear_model import ElasticNet

init_place()
board = aiplatform.Tensorboard.create(display_name="board")
init_experiment(experiment="exp", experiment_tensorboard=board)
aiplatform.autolog()
inputs = np.array([[1.0], [2.0], [3.0]])
targets = [3.0, 5.0, 7.0]
ElasticNet(alpha=0.25).fit(inputs, targets)
with aiplatform.start_run("named"):
    ElasticNet(alpha=0.5).fit(inputs, targets)
aiplatform.autolog(disable=True)

frame = aiplatform.get_experiment_df("exp")
named = frame["run_name"] == "named"
made_up = frame[~named]
answer(
    runs=len(frame),
    states=sorted(set(frame["state"])),
    made_up=made_up["run_name"].str.match(r"sklearn-\d{4}-\d\d-\d\d-").tolist(),
    alphas=[made_up["param.alpha"].tolist(), frame[named]["param.alpha"].tolist()],
    scored=frame["metric.training_r2_score"].between(0, 1).tolist(),
)
