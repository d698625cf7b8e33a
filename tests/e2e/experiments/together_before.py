"""Makes the run that several processes are about to log to."""

from google.cloud import aiplatform
from opening import answer, init_experiment, init_place

init_place()
board = aiplatform.Tensorboard.create(display_name="board")
init_experiment(experiment="exp", experiment_tensorboard=board)
with aiplatform.start_run("shared"):
    aiplatform.log_params({"common": 1})
answer()
