"""From raw figures to tables: medians, with the repetitions beside them, and ratios in one run."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import plots
from benchmarks.peers.results import RESULTS, Results

PAGE = RESULTS.parents[1] / "benchmarks.md"
BEGIN, END = "<!-- peers: written by `make bench-peers` -->", "<!-- end of peers -->"
OURS = "tensordeck"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        title: What it says.
        workload: Whose figure it is.
        figure: Its name.
        shown: Turns a number into text.
        more_is_better: Which way ratios go; None for figures that no ratio makes sense of.
        part: For figures that are records: the member.
    """

    title: str
    workload: str
    figure: str
    shown: Callable[[float], str]
    more_is_better: bool | None = None
    part: str = ""

    def values(self, results: Results, peer: str) -> list[float]:
        found = results.all(peer, self.workload, self.figure)
        return [value[self.part] if self.part else value for value in found]


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _unit(text: str, digits: int = 0) -> Callable[[float], str]:
    return lambda value: f"{value:,.{digits}f} {text}"


ROWS = (
    Row("(a) fastest path in, points/s", "batch_write", "points_per_s", _count, True),
    Row("(a) sustained, points/s", "sustained_write", "points_per_s", _count, True),
    Row(
        "(a) sustained, processor time a million points, database included",
        "sustained_write",
        "cpu_s_per_million",
        _unit("s", 2),
        False,
    ),
    Row("(b) one call a step, points/s", "step_write", "points_per_s", _count, True),
    Row("(c) one long series in, points/s", "long_series", "write_points_per_s", _count, True),
    Row("(c) read whole", "long_series", "whole_ms", _unit("ms", 1), False),
    Row("(c) read sampled", "long_series", "sampled_ms", _unit("ms", 1), False),
    Row("(d) a chart of all runs, first answer", "board", "first_ms", _unit("ms", 1), False),
    Row("(d) the same chart again", "board", "again_ms", _unit("ms", 1), False),
    Row("(e) bytes a point, short series", "batch_write", "bytes_per_point", _unit("B", 1), False),
    Row("(e) bytes a point, long series", "long_series", "bytes_per_point", _unit("B", 1), False),
    Row("(f) start to first answer", "start", "start_s", _unit("s", 2), False),
    Row("(f) memory idle, PSS", "start", "idle_mb", _unit("MB"), False, "pss"),
    Row("(f) memory idle, RSS", "start", "idle_mb", _unit("MB"), False, "rss"),
    Row("(f) memory after (a), PSS", "batch_write", "memory_mb", _unit("MB"), False, "pss"),
    Row("(g) acknowledged before kills", "kill", "acknowledged_points", _unit("points")),
    Row("(g) of these lost", "kill", "lost_points", _unit("points")),
    Row("(g) restart", "kill", "restart_s", _unit("s", 1), False),
)


def median(row: Row, results: Results, peer: str) -> float | None:
    values = row.values(results, peer)
    return statistics.median(values) if values else None


def table(results: Results) -> str:
    """Medians as a Markdown table, with each peer's ratio to ours where it has one."""
    peers = list(results.peers)
    lines = [
        "| | " + " | ".join(results.peers[peer]["title"] for peer in peers) + " |",
        "|---" * (len(peers) + 1) + "|",
    ]
    for row in ROWS:
        cells = [_cell(row, results, peer) for peer in peers]
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: Row, results: Results, peer: str) -> str:
    value, ours = median(row, results, peer), median(row, results, OURS)
    if value is None:
        return "–"
    text = row.shown(value)
    if peer.startswith(OURS) or row.more_is_better is None or not ours or not value:
        return text
    return f"{text} ({_times(ours / value if row.more_is_better else value / ours)})"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}×" if ratio >= 10 else f"{ratio:.1f}×" if ratio >= 0.1 else f"{ratio:.2f}×"


def _repetitions(results: Results) -> str:
    """Every repetition of every figure that is repeated."""
    lines = ["| figure | peer | repetitions |", "|---|---|---|"]
    for row in ROWS:
        for peer in results.peers:
            values = row.values(results, peer)
            if len(values) > 1:
                shown = ", ".join(row.shown(value) for value in values)
                lines.append(f"| {row.title} | {results.peers[peer]['title']} | {shown} |")
    return "\n".join(lines)


def _targets(results: Results) -> str:
    """What the figures were to reach, and whether they did."""

    def ratio(figure: Row, other: str) -> float | None:
        ours, theirs = median(figure, results, OURS), median(figure, results, other)
        return ours / theirs if ours and theirs else None

    rows = {(row.workload, row.figure): row for row in ROWS}
    batch, step = rows["batch_write", "points_per_s"], rows["step_write", "points_per_s"]
    checks: list[tuple[str, float | None, str, Callable[[float], bool]]] = [
        ("(a) times MLflow's points/s", ratio(batch, "mlflow"), "at least 20", lambda v: v >= 20),
        ("(a) times trackio's points/s", ratio(batch, "trackio"), "at least 2", lambda v: v >= 2),
        ("(b) times MLflow's points/s", ratio(step, "mlflow"), "at least 10", lambda v: v >= 10),
        (
            "(c) whole, times a server that only decodes and encodes",
            _over_reference(results),
            "at most 1.2",
            lambda v: v <= 1.2,
        ),
        (
            "(c) sampled read of 1,000,000 points, server time in ms",
            _middle(results, "sampled_read", "longest_ms"),
            "below 10",
            lambda v: v < 10,
        ),
        (
            "(e) bytes a point, long series of noise",
            median(rows["long_series", "bytes_per_point"], results, OURS),
            "at most 8",
            lambda v: v <= 8,
        ),
        (
            "(f) memory idle in MB, RSS",
            _middle(results, "start", "idle_mb", "rss"),
            "below 200",
            lambda v: v < 200,
        ),
        ("(f) start in s", _middle(results, "start", "start_s"), "below 2", lambda v: v < 2),
        (
            "(g) acknowledged points lost",
            _middle(results, "kill", "lost_points"),
            "none",
            lambda v: not v,
        ),
        (
            "points a second of processor time on two servers with PostgreSQL, of SQLite's",
            _per_core(results, "sustained_write"),
            "at least 0.7",
            lambda v: v >= 0.7,
        ),
        (
            "the same in (a) alone, with connecting, making the runs and waiting for the folder",
            _per_core(results, "batch_write"),
            "at least 0.7",
            lambda v: v >= 0.7,
        ),
    ]
    lines = ["| | measured | wanted | |", "|---|---|---|---|"]
    for title, value, wanted, passes in checks:
        if value is None:
            lines.append(f"| {title} | not measured | {wanted} | |")
        else:
            verdict = "reached" if passes(value) else "**missed**"
            lines.append(f"| {title} | {value:,.2f} | {wanted} | {verdict} |")
    return "\n".join(lines)


def _middle(results: Results, workload: str, figure: str, part: str = "") -> float | None:
    values = results.all(OURS, workload, figure)
    return statistics.median(v[part] if part else v for v in values) if values else None


def _over_reference(results: Results) -> float | None:
    ours = _middle(results, "long_series", "whole_ms")
    reference = _middle(results, "long_series", "reference_ms")
    return ours / reference if ours and reference else None


def _per_core(results: Results, workload: str) -> float | None:
    """Points a second of server's processor time on two servers, database counted, to embedded.

    Of the sums over all rounds: a noisy one counts by what it took.
    """

    def rate(peer: str) -> float | None:
        found = [
            record["figures"]
            for record in results.records
            if (record["peer"], record["workload"]) == (peer, workload)
            and "server_cpu_s" in record["figures"]
        ]
        used = sum(f["server_cpu_s"] + f["database_cpu_s"] for f in found)
        return sum(f["points"] for f in found) / used if used else None

    two, embedded = rate("tensordeck-postgresql-2"), rate(OURS)
    return two / embedded if two and embedded else None


def _conditions(results: Results) -> str:
    """The machine, the versions and how each peer was used."""
    machine, scale = results.machine, results.scale
    loads = [record["load_before"] for record in results.records]
    conditions = (
        f"{machine['moment'][:16].replace('T', ' ')} UTC, {machine['cpu']}, {machine['cores']} "
        f"cores, {machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}; "
        f"clients, servers and databases all on it. Load before each measurement: "
        f"{min(loads):.1f} to {max(loads):.1f}, the comparison's own included."
    )
    workloads = (
        f"(a) {scale.clients} runs × {scale.series} scalars × {scale.steps} steps, a process a "
        f"run; sustained: the same with {scale.sustained_steps:,} steps, Tensordeck's databases "
        f"alone. (b) the same with {scale.single_steps} steps, a call each. "
        f"(c) {scale.long_steps:,} steps of one scalar. (d) one scalar of {scale.board_runs} runs "
        f"× {scale.steps} steps, as each one's page asks. (g) {scale.kills} kills of the server's "
        "whole process tree while four clients write. "
        "All values are noisy doubles, which nothing compresses. "
        "Medians; in brackets by what factor a peer is behind embedded Tensordeck."
    )
    lines = [
        conditions,
        "",
        "| | versions | client | an acknowledged write is |",
        "|---|---|---|---|",
    ]
    for peer in results.peers.values():
        versions = ", ".join(f"{name} {number}" for name, number in peer["versions"].items())
        lines.append(f"| {peer['title']} | {versions} | {peer['client']} | {peer['durability']} |")
    lines += ["", workloads]
    return "\n".join(lines)


def _missing(results: Results) -> Sequence[str]:
    lines = []
    for peer, reasons in results.refusals.items():
        title = results.peers.get(peer, {}).get("title", peer)
        for workload, reason in reasons.items():
            what = workload.replace("_", " ") or "anything"
            lines.append(f"- {title}, {what}: {' '.join(reason.split())[:300]}.")
    return lines


def _tutorial(results: Results) -> str:
    value = _middle(results, "step_write", "tutorial_points_per_s")
    if value is None:
        return ""
    return (
        "The way of Google's tutorials, `aiplatform.log_time_series_metrics`, opens a connection "
        f"for every call: {value:,.0f} points/s of four clients, most of it the clients' own time."
    )


def publish(results: Results) -> None:
    """Writes the page's section between its markers, and the plots beside the results."""
    pictures = plots.draw(results, RESULTS.parent)
    parts = [
        _conditions(results),
        "\n".join(f"![{title}](benchmarks/{file.name})" for title, file in pictures),
        table(results),
        _tutorial(results),
        "Not measured, and why:\n\n" + "\n".join(_missing(results)),
        "### What the figures were to reach\n\n" + _targets(results),
        "<details><summary>Every repetition</summary>\n\n"
        + _repetitions(results)
        + "\n\n</details>\n\nAll raw figures: [peers.json](benchmarks/peers.json).",
    ]
    _put(PAGE, "\n\n".join(part for part in parts if part))


def _put(page: Path, text: str) -> None:
    content = page.read_text()
    before, found, rest = content.partition(BEGIN)
    if not found:
        raise SystemExit(f"{page} has no line {BEGIN}")
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


__all__: Sequence[Any] = ("publish", "table")
