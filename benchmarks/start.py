"""How soon a server answers: from the start of its process, data and all on the disk already.

    python benchmarks/start.py [--rounds 7] [--runs 100] [--tags 20] [--steps 200]

Each round starts `tensordeck serve` anew and asks as a browser does: `/healthz` until it answers,
then an experiment's board, then its first chart (`timeSeries` for one tag in all runs). The best
round counts: nothing makes a start faster than it is, but much on a shared machine makes it
slower. The bare interpreter that only imports the libraries which no server of this kind goes
without is the yardstick; its ratio means the same on every machine.
"""

import argparse
import compileall
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

import tensordeck
from board import BROWSER, CHART, EXPERIMENT, ask, fill_store, free_port, patiently
from tensordeck.access import SESSION_COOKIE
from tensordeck.names import board_id

LIBRARIES = "import sqlalchemy, grpc, starlette, uvicorn, numpy"
BOARD = f"/experiment/{board_id(EXPERIMENT)}/"


def bare_interpreter(environ: dict[str, str]) -> float:
    """Seconds of an interpreter that imports the libraries and ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", LIBRARIES], check=True, env=environ)
    return time.perf_counter() - began


def one_start(data_dir: Path, cookie: str, environ: dict[str, str]) -> dict[str, float]:
    """Starts a server; returns the seconds from its start until each answer was there."""
    port = free_port()
    command = (sys.executable, "-m", "tensordeck", "serve", "--port", str(port))
    times: dict[str, float] = {}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        cookies={SESSION_COOKIE: cookie},
        headers=BROWSER,
        timeout=60,
    ) as client:
        began = time.perf_counter()
        child = subprocess.Popen(
            [*command, "--data-dir", str(data_dir)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environ,
        )
        try:
            patiently(client, "/healthz")
            times["/healthz"] = time.perf_counter() - began
            client.get(BOARD).raise_for_status()
            times["board"] = time.perf_counter() - began
            ask(client, 0, BOARD + CHART)
            times["timeSeries"] = time.perf_counter() - began
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--tags", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    # As installed: compiled once, not at every start.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    compileall.compile_dir(Path(tensordeck.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        cookie = fill_store(data_dir, options.runs, options.tags, options.steps)
        one_start(data_dir, cookie, environ)  # makes certificates and fills the file cache
        rounds = [
            {"bare": bare_interpreter(environ), **one_start(data_dir, cookie, environ)}
            for _ in range(options.rounds)
        ]
    bare = min(one["bare"] for one in rounds)
    print(f"{'':34}    best   median   ratio of the best to the bare interpreter's")
    for what, label in (
        ("bare", f"python -c '{LIBRARIES.partition(',')[0]}, ...'"),
        ("/healthz", "process start to /healthz"),
        ("board", "... to the board's page"),
        ("timeSeries", "... to its first timeSeries"),
    ):
        times = [one[what] for one in rounds]
        best = min(times)
        print(f"{label:34} {best:6.2f} s {statistics.median(times):6.2f} s   {best / bare:5.2f}")
    print("(wanted: 1 s to the first answer)")


if __name__ == "__main__":
    main()
