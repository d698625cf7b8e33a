"""Runs jobs as containers of this host, with docker or podman.

`executor` is what the controller calls. `invocation` says what a replica's container is to be,
`engine` is the engine's command line, `replica` one container, and `printed` copies what it prints.

A container runs as the server's own user, in the host's network, where it reaches the server and
the job's other replicas at the addresses that its variables have, and sees the job's folder at
the same path as the host does, and its Cloud Storage at `/gcs` besides. So the engine must be one
of this host, which has to be Linux. A GPU belongs to one container at a time; what other programs,
the process executor's jobs too, do with it is not looked at. Time limits are kept by the server
that looks after the job: one that runs out while no server lives ends the job when the next one
comes.
"""
