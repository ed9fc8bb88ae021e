"""The results of one run as Markdown tables."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]
Records = dict[str, Record | None]
PEERS = ("lme4", "mixedlm", "glmm", "mixedlm-rs", "statsmodels")
PARTS = ("design", "products", "optimizer", "solution")


def _seconds(record: Record | None) -> str:
    if record is None:
        return ""
    match record["status"]:
        case "fitted":
            return f"{record['seconds']:.3g}" if record["seconds"] < 1000 else f"{record['seconds']:.0f}"
        case "timeout":
            return f"> {record['seconds']:.0f}"
        case "memory":
            return "out of memory"
        case "absent":
            return "-"
        case _:
            return "error"


def _ratio(peer: Record | None, ours: Record | None) -> str:
    if peer is None or ours is None or ours["status"] != "fitted" or "seconds" not in peer:
        return ""
    ratio = peer["seconds"] / ours["seconds"]
    bound = "> " if peer["status"] == "timeout" else ""
    return f"{bound}{ratio:.0f}x" if ratio >= 20 else f"{bound}{ratio:.1f}x"


def _fastest(peers: list[Record | None]) -> Record | None:
    fitted = [peer for peer in peers if peer is not None and peer["status"] == "fitted"]
    return min(fitted, key=lambda peer: peer["seconds"], default=None)


def _memory(record: Record | None) -> str:
    """Peak of the first call, and in brackets what the call added to imports and data, in MB."""
    if record is None or record.get("memory_peak") is None:
        return ""
    return f"{record['memory_peak']:.0f} ({record['memory_peak'] - record['memory_before']:.0f})"


def _difference(peer: Record | None, ours: Record | None) -> str:
    if peer is None or ours is None or "criterion" not in peer or "criterion" not in ours:
        return ""
    return f"{peer['criterion'] - ours['criterion']:+.2g}"


def _markdown(title: str, header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return f"{title}:\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _seconds_row(problem: Record, records: Records) -> list[str]:
    ours, peers = records["ours"], [records[engine] for engine in PEERS]
    ratios = [_ratio(_fastest(peers), ours), _ratio(records["lme4"], ours)]
    return [problem["title"], _seconds(ours), *map(_seconds, peers), *ratios, f"{problem['aim']:g}x"]


def _criterion_row(problem: Record, records: Records) -> list[str]:
    fitted = {engine: record for engine, record in records.items() if record is not None and "criterion" in record}
    lowest = min((record["criterion"] for record in fitted.values()), default=float("nan"))
    above = [_difference(records[engine], records["ours"]) for engine in PEERS]
    counts = [f"{engine} {record['evaluations']}" for engine, record in fitted.items() if record["evaluations"]]
    return [problem["title"], str(problem["n_theta"]), f"{lowest:.6f}", *above, ", ".join(counts)]


def _memory_row(problem: Record, records: Records) -> list[str]:
    return [problem["title"], *map(_memory, records.values())]


def _split_row(problem: Record, records: Records) -> list[str]:
    ours = records["ours"]
    if ours is None or ours["status"] != "fitted":
        return [problem["title"]] + [""] * (len(PARTS) + 5)
    parts = [ours["split"][part] for part in PARTS]
    seconds = [ours["cold"], ours["seconds"], *parts, ours["seconds"] - sum(parts)]
    return [problem["title"], *(f"{value:.3g}" for value in seconds), str(ours["iterations"]), str(ours["evaluations"])]


def _circumstances(results: dict[str, Any]) -> str:
    machine = results["machine"]
    facts = [f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB"]
    facts += [f"{name} {version}" for name, version in results["versions"].items()]
    facts += [f"{name}={value}" for name, value in machine["threads"].items()]
    return f"Run {results['run']}: {'; '.join(facts)}. {results['note']}".rstrip()


def table(results: dict[str, Any]) -> str:
    """Seconds, criterion, memory and split of one run, as Markdown."""
    by_pair = {(record["problem"], record["engine"]): record for record in results["measurements"]}
    rows = [
        (problem, {engine: by_pair.get((problem["name"], engine)) for engine in ("ours", *PEERS)})
        for problem in results["problems"]
    ]
    sections = [
        _circumstances(results),
        _markdown(
            "Seconds of a whole call, from formula to result",
            ["problem", "ours", *PEERS, "fastest peer/ours", "lme4/ours", "aim"],
            [_seconds_row(*row) for row in rows],
        ),
        _markdown(
            "REML criterion: the lowest found, and how far each peer ends above ours",
            ["problem", "parameters", "lowest", *PEERS, "evaluations"],
            [_criterion_row(*row) for row in rows],
        ),
        _markdown(
            "Peak memory in MB during the first call, in brackets what it added to imports and data",
            ["problem", "ours", *PEERS],
            [_memory_row(*row) for row in rows],
        ),
        _markdown(
            "Where our time goes, in seconds; the parts are those of the last call",
            ["problem", "first call", "call", *PARTS, "rest", "iterations", "evaluations"],
            [_split_row(*row) for row in rows],
        ),
    ]
    return "\n\n".join(sections) + "\n"
