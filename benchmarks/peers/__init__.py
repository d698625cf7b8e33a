"""Experiment trackers through the same workloads: `python -m benchmarks.peers`.

- `servers/`: a module a peer, which starts its server and says where its files are.
- `clients/`: a script a peer, which runs in the peer's own virtual environment.
- `workloads/`: a module a workload, the same for every peer.
- `results`, `report`, `plots`: raw figures, and what becomes of them in docs/benchmarks.md.
"""
