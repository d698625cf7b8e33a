"""MLflow's own server with its default settings, on SQLite."""

from pathlib import Path

from benchmarks.peers import environments
from benchmarks.peers.peer import Peer
from benchmarks.peers.servers.one_server import OneServer


class MlFlow(Peer):
    """MLflow 3."""

    name, title = "mlflow", "MLflow, SQLite"
    durability = "commit of SQLite, synced before the answer"
    client_path = "`MlflowClient.log_batch`, 1,000 metrics a call"

    def prepare(self) -> None:
        self._python = environments.environment("mlflow", "mlflow==3.17.2")

    def versions(self) -> dict[str, str]:
        return {"mlflow": environments.version(self._python, "mlflow")}

    def open(self, folder: Path) -> OneServer:
        return OneServer(
            folder,
            self._python,
            [
                *(self._python, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", "{port}", "--backend-store-uri", "sqlite:///{data}/mlflow.db"),
                *("--default-artifact-root", "{data}/artifacts"),
            ],
            "/health",
            "mlflow_client.py",
        )
