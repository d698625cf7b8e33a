"""Raw figures: every repetition, with what they were taken on and with."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from benchmarks.peers.peer import Peer
from benchmarks.peers.scale import Scale

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks" / "peers.json"
"""Those that docs/benchmarks.md shows."""


class Results:
    """Figures of one run of the comparison.

    Args:
        machine: What `machine.describe` returned.
        scale: The sizes.
    """

    def __init__(self, machine: dict[str, Any], scale: Scale) -> None:
        self.machine, self.scale = machine, scale
        self.peers: dict[str, dict[str, Any]] = {}
        self.refusals: dict[str, dict[str, str]] = {}
        self.records: list[dict[str, Any]] = []

    def describe(self, peer: Peer) -> None:
        self.peers[peer.name] = {
            "title": peer.title,
            "versions": peer.versions(),
            "durability": peer.durability,
            "client": peer.client_path,
        }

    def cannot(self, peer: str, workload: str, reason: str) -> None:
        """Notes why there are no figures: of all workloads if `workload` is empty."""
        self.refusals.setdefault(peer, {})[workload] = reason

    def add(
        self,
        peer: str,
        workload: str,
        number: int,
        load: float,
        seconds: float,
        figures: dict[str, Any],
    ) -> None:
        if not figures:  # nothing that this peer has
            return
        record = {"peer": peer, "workload": workload, "round": number + 1}
        record |= {"load_before": load, "took_s": round(seconds, 1)}
        self.records.append({**record, "figures": figures})

    def all(self, peer: str, workload: str, figure: str) -> list[Any]:
        """A figure of every round; those that are lists are put behind one another."""
        found = []
        for record in self.records:
            if (record["peer"], record["workload"]) == (peer, workload):
                value = record["figures"].get(figure)
                found += value if isinstance(value, list) else [] if value is None else [value]
        return found

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": self.machine,
            "scale": asdict(self.scale),
            "peers": self.peers,
            "cannot": self.refusals,
            "figures": self.records,
        }
        file.write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, file: Path) -> Self:
        content = json.loads(file.read_text())
        result = cls(content["machine"], Scale(**content["scale"]))
        result.peers, result.refusals = content["peers"], content["cannot"]
        result.records = content["figures"]
        return result
