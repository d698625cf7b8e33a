"""What executors share that hand replicas to an engine: one of containers, or a cluster's.

An engine keeps what was handed to it running without us, under a name that follows from the job,
the attempt and the replica. So nothing has to be detached here: `record` keeps in the attempt's
folder what was asked for and how each replica is, and a `reconciler` a replica brings what is into
line with it, in whichever server process lives. One `executor` is an engine's `EngineReplica`.
"""
