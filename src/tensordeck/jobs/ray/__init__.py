"""Runs jobs on a Ray cluster, by its jobs API: https://docs.ray.io/en/latest/cluster/running-applications/job-submission/.

`executor` is what the controller calls. `resources` says what a replica asks of the cluster,
`cluster` talks to it, `replica` is one replica as a submission there. Ray makes the image's
environment on the node that it chooses (a pip runtime environment, which it keeps), and starts the
`launcher` there, which installs the user's packages, lets the replicas of a job find each other
(`rendezvous`), runs the program, and writes its output into the job's log.

What that takes of the cluster:

- The server's data directory is on a file system that all nodes have at the same path, and Ray
  runs as the server's user: a job's folders (`AIP_MODEL_DIR` and so on), its key and its log are
  there. A cluster on the server's own host has that by nature.
- Nodes reach the server at the address that it listens on: with nodes on other hosts, `--host`
  must name one. Their calls through the gateway (`gs://`, `aiplatform`) need a credential there,
  which is good for an hour; a job's folders and its log do not need them.
- Python 3.11 or newer; the cluster's own counts, whatever Python an image would have.

A node that can't do one of these says so, and the job fails. Not there: limits on memory (it is
reserved only), system metrics, and containers. What Ray has not placed after 15 minutes
(RAY_JOB_START_TIMEOUT_SECONDS of its head) is lost and started again, as jobs are that lose their
host; replicas of one job hold what they have while they wait for the others.
"""
