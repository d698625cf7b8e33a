"""The demo: a server, a real training, a live upload, a dashboard.

    python examples/demo/run.py           keeps serving until Ctrl-C
    python examples/demo/run.py --exit    ends by itself, with status 0 if all could be read back

Every step is a command that you can type yourself; each is shown before it runs.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).parent
DEFAULT_PORT = 6060
START_SECONDS = 60
screen = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Runs the demo; returns the exit status."""
    options = arguments()
    began = time.monotonic()
    data_dir = options.data_dir
    log_dir = data_dir / "logs" / time.strftime("digits-%Y%m%d-%H%M%S")
    log_dir.mkdir(parents=True)
    experiment = log_dir.name
    with_server = ("--data-dir", str(data_dir / "server"))
    # Everything that is started here ends here, in whatever way this program ends.
    children: list[subprocess.Popen[str]] = []
    try:
        step(1, "Start the server")
        server = start_server(data_dir / "server", free_port(options.port), children)

        step(2, "Create an instance and an experiment, with Google's client")
        instance = output(
            *tensordeck("exec", *with_server), "python", HERE / "open_experiment.py", experiment
        ).strip()
        note(instance)

        step(3, "Train on handwritten digits; what is logged is uploaded as it appears")
        uploader = start(
            *tensordeck("upload", log_dir, "--experiment", experiment),
            *("--tensorboard", instance, "--follow", *with_server),
            log=data_dir / "upload.log",
            children=children,
        )
        environment = {"AIP_TENSORBOARD_LOG_DIR": str(log_dir)}
        run(*tensordeck("exec", *with_server), "python", HERE / "train.py", environment=environment)
        uploader.send_signal(signal.SIGINT)
        if uploader.wait(START_SECONDS) not in (0, 130):
            raise DemoError(f"The upload failed: {(data_dir / 'upload.log').read_text()}")

        step(4, "Read everything back and organize it, with Google's client")
        run(
            *tensordeck("exec", *with_server),
            *("python", HERE / "organize.py", instance, experiment),
        )

        step(5, f"Look at it ({time.monotonic() - began:.0f} s so far)")
        resource = f"{instance}/experiments/{experiment}"
        board = output(*tensordeck("open", resource, "--no-browser", *with_server)).strip()
        for label, text in (("board", board), ("all boards", server), ("logs", str(log_dir))):
            screen.print(f"    [dim]{label:<11}[/dim]{text}")
        if options.exit:
            screen.print("\n[green]Everything that was logged can be read. Done.[/green]")
            return 0
        screen.print("\nCtrl-C stops the server; the data stays.")
        children[0].wait()
    except DemoError as error:
        screen.print(f"[red]{error}[/red]")
        return 1
    except KeyboardInterrupt:
        screen.print()
    finally:
        for child in reversed(children):
            stop(child)
    return 0


class DemoError(Exception):
    """A step failed; the message says which and why."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A server, a training, a live dashboard.")
    parser.add_argument("--exit", action="store_true", help="end by itself, for a check")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--data-dir", type=Path, default=Path("tensordeck-data") / "demo")
    return parser.parse_args()


def step(number: int, text: str) -> None:
    """Prints a step's heading."""
    screen.print(f"\n[bold cyan]{number}[/bold cyan] [bold]{text}[/bold]")


def note(text: str) -> None:
    """Prints a result."""
    screen.print(f"    {text}")


def tensordeck(command: str, *words: object) -> tuple[str, ...]:
    """A Tensordeck command; `exec` still needs its program after it."""
    rest = ("--",) if command == "exec" else ()
    return (sys.executable, "-m", "tensordeck", command, *map(str, words), *rest)


def free_port(wanted: int) -> int:
    """The wanted port, or any other when that one is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                note(f"Port {wanted} is taken; another one is used.")
                continue
            return int(probe.getsockname()[1])
    raise DemoError("No port is free.")


def start_server(data_dir: Path, port: int, children: list[subprocess.Popen[str]]) -> str:
    """Starts `tensordeck serve`; returns its address once it answers."""
    log = data_dir.parent / "server.log"
    server = start(
        *tensordeck("serve", "--data-dir", data_dir, "--port", port), log=log, children=children
    )
    url = f"http://localhost:{port}"
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return url
        except OSError:
            time.sleep(0.1)
    raise DemoError(f"The server did not start: {log.read_text().strip()}")


def start(
    *command: object, log: Path, children: list[subprocess.Popen[str]]
) -> subprocess.Popen[str]:
    """Starts a command in the background, its output going to a file."""
    show(command)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stream:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C is for this program; it then ends the others in order.
            start_new_session=True,
        )
    children.append(child)
    return child


def run(*command: object, environment: dict[str, str] | None = None) -> None:
    """Runs a command whose output the user sees."""
    show(command)
    done = subprocess.run(
        [str(word) for word in command], env=child_environment(environment), check=False
    )
    if done.returncode:
        raise DemoError(f"It ended with status {done.returncode}.")


def output(*command: object) -> str:
    """Runs a command and returns what it prints."""
    show(command)
    done = subprocess.run(
        [str(word) for word in command],
        env=child_environment(None),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"It ended with status {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout.strip().rpartition("\n")[2]


def child_environment(more: dict[str, str] | None) -> dict[str, str]:
    """The environment of scripts: `python` is this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, **(more or {})}


def show(command: tuple[object, ...]) -> None:
    """Prints a command as one would type it."""
    words = [str(word) for word in command]
    if words[:3] == [sys.executable, "-m", "tensordeck"]:
        words[:3] = ["tensordeck"]
    screen.print(f"  [dim]$ {shlex.join(words)}[/dim]", markup=True)


def stop(child: subprocess.Popen[str]) -> None:
    """Ends a child as Ctrl-C would; harder if it does not listen."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


if __name__ == "__main__":
    sys.exit(main())
