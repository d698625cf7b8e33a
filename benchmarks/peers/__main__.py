"""Runs the comparison; see the package.

    python -m benchmarks.peers [--peers NAME,...] [--workloads NAME,...] [--quick]

Repetitions are interleaved: every round takes each peer in turn, so that a noisy minute hits all
alike. Raw figures go to `--results`; docs/benchmarks.md and its plots are written from that file,
by a run of everything or with `--report`.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import machine, report
from benchmarks.peers.environments import NotInstallable
from benchmarks.peers.peer import Peer
from benchmarks.peers.results import RESULTS, Results
from benchmarks.peers.scale import QUICK, Scale
from benchmarks.peers.servers import PEERS
from benchmarks.peers.workloads import WORKLOADS


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--peers", type=_names_of(PEERS), default=list(PEERS), metavar="NAME,...")
    parser.add_argument(
        "--workloads", type=_names_of(WORKLOADS), default=list(WORKLOADS), metavar="NAME,..."
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: does it all work?")
    parser.add_argument("--rounds", type=int, help=f"how many; {Scale().rounds} unless told")
    parser.add_argument("--results", type=Path, help="file for the raw figures")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing: write the page anew from the file"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # servers end with us
    whole = options.peers == list(PEERS) and options.workloads == list(WORKLOADS)
    publish = whole and not options.quick
    file = options.results or (RESULTS if publish or options.report else None)
    if not options.report:
        scale = QUICK if options.quick else Scale()
        rounds = options.rounds or scale.rounds
        results = Results(machine.describe(), scale)
        try:
            _measure(results, options.peers, options.workloads, scale, rounds)
        finally:
            if file:
                results.save(file)
        print(report.table(results))
    if publish or options.report:
        report.publish(Results.load(file))


def _names_of(known: Sequence[str]) -> object:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{unknown} are not among {', '.join(known)}")
        return [name for name in known if name in names]

    return read


def _measure(
    results: Results, peers: list[str], workloads: list[str], scale: Scale, rounds: int
) -> None:
    with contextlib.ExitStack() as stack:
        installed = []
        for name in peers:
            peer = PEERS[name]()
            try:
                peer.prepare()
            except NotInstallable as error:
                results.cannot(name, "", str(error))
                continue
            stack.callback(peer.close)
            results.describe(peer)
            installed.append(peer)
        for number in range(rounds):
            for peer in installed:
                _session(results, peer, workloads, scale, number, alone=False)
        for peer in installed:
            _session(results, peer, workloads, scale, 0, alone=True)


def _session(
    results: Results, peer: Peer, workloads: list[str], scale: Scale, number: int, *, alone: bool
) -> None:
    """Takes one peer through the workloads of a round."""
    due = []
    for name in workloads:
        workload = WORKLOADS[name]
        if name in peer.cannot:
            results.cannot(peer.name, name, peer.cannot[name])
        elif workload.alone is alone and (workload.every_round or not number):
            due.append(workload)
    if not due:
        return
    place = os.environ.get("BENCH_DIR")
    with tempfile.TemporaryDirectory(prefix=f"peers-{peer.name}-", dir=place) as folder:
        try:
            session = peer.open(Path(folder))
        except Exception as error:  # noqa: BLE001 -- the others go on; the page says what it was
            for workload in due:
                _failed(results, peer, workload.name, error)
            return
        try:
            for workload in due:
                began, load = time.monotonic(), os.getloadavg()[0]
                try:
                    figures = workload.measure(session, peer, scale, number)
                except Exception as error:  # noqa: BLE001 -- as above
                    _failed(results, peer, workload.name, error)
                    continue
                took = time.monotonic() - began
                results.add(peer.name, workload.name, number, load, took, figures)
                print(
                    f"round {number + 1}: {peer.name} {workload.name} ({took:.0f} s) {figures}",
                    file=sys.stderr,
                    flush=True,
                )
        finally:
            session.close()


def _failed(results: Results, peer: Peer, workload: str, error: Exception) -> None:
    words = str(error).strip() or repr(error)
    results.cannot(peer.name, workload, words.splitlines()[-1])
    print(f"{peer.name} {workload}: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
