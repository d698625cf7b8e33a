"""One of several processes that delete runs of one experiment at the same time."""

import sys

from google.cloud import aiplatform
from opening import ARGUMENTS, answer, init_place

(me,) = ARGUMENTS
init_place()
run = aiplatform.ExperimentRun(f"{me}-2", experiment="exp")
sys.stdout.write("READY\n")
sys.stdout.flush()
sys.stdin.readline()  # until all are ready
run.delete(delete_backing_tensorboard_run=True)
answer()
