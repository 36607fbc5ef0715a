"""The tables of the report, as Markdown lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from benchmarks.summary import Spread, Summary, p99, rps

SHARE_OF_LIMIT, OF_TWIN, P99_OF_TWIN = 0.90, 0.97, 1.15
OF_PEERS = {"detailed-187kB": 1.8, "smooth-95kB": 2.3}
FIRST_ANSWER_S = {"warm disk cache": 1.2, "cold disk cache": 2.0}
IDLE_MB, KEPT_MB = 70, 15


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table; nothing for no rows."""
    if not rows:
        return []
    return ["| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *rows]]


def cell(found: Spread | None, digits: int = 2, unit: str = "", met: Callable[[float], bool] | None = None) -> str:
    """A figure; bold where it misses its target, a dash where it was not measured."""
    if found is None:
        return "-"
    text = found.text(digits, unit)
    return text if met is None or met(found.median) else f"**{text}**"


def at_least(least: float) -> Callable[[float], bool]:
    """A target."""
    return lambda value: value >= least


def at_most(most: float) -> Callable[[float], bool]:
    """A target."""
    return lambda value: value <= most


def headline(summary: Summary) -> list[str]:
    """Glia against the limit, the twin and the best documented peer, as tuned and held to fp32."""
    rows = []
    for network in summary.distinct("network"):
        for picture in summary.distinct("picture"):
            for system, twin in (("glia", "twin"), ("glia-fp32", "twin-fp32")):
                row = _headline_row(summary, system, twin, network, picture)
                rows += [row] if row else []
    heads = [
        "network, picture",
        "requests/s",
        f"of the machine's limit (target >= {SHARE_OF_LIMIT:.0%})",
        f"x fair twin (>= {OF_TWIN})",
        f"p99 x twin's (<= {P99_OF_TWIN})",
        "x best documented peer (>= " + ", ".join(f"{least} {name}" for name, least in OF_PEERS.items()) + ")",
    ]
    return table(heads, rows)


def _headline_row(summary: Summary, system: str, twin: str, network: str, picture: str) -> list[str]:
    ours = summary.by_round(system, rps, network, picture)
    if not ours:
        return []
    share = summary.ratio(ours, summary.limit(system, network, picture))
    slow = summary.ratio(summary.by_round(system, p99, network, picture), summary.by_round(twin, p99, network, picture))
    peers, best = summary.best_peer(network, picture)
    percent = share and Spread(share.median * 100, share.low * 100, share.high * 100, share.n)
    against = cell(summary.ratio(ours, peers), met=at_least(OF_PEERS.get(picture, 0)))
    return [
        f"{network}, {picture}" + ("" if system == "glia" else ", held to fp32"),
        cell(summary.figure("closed", "rps", system=system, network=network, picture=picture, clients=16), 0),
        cell(percent, 0, " %", at_least(SHARE_OF_LIMIT * 100)),
        cell(summary.ratio(ours, summary.by_round(twin, rps, network, picture)), met=at_least(OF_TWIN)),
        cell(slow, met=at_most(P99_OF_TWIN)),
        f"{against} {best}" if best else "-",
    ]


def small_targets(summary: Summary) -> list[str]:
    """Starts, memory, crowds."""
    rows = []
    for state, most in FIRST_ANSWER_S.items():
        network = next(iter(summary.distinct("network", "start")), "")
        found = summary.figure("start", system="glia", network=network, note=state)
        rows.append([f"`glia serve` to its first answer, {state}", cell(found, 2, " s", at_most(most)), f"<= {most} s"])
    idle = summary.figure("rss", system="glia", note="nothing loaded")
    count = summary.figure("processes", system="glia", note="nothing loaded")
    rows.append(["memory (RSS), nothing loaded", cell(idle, 0, " MB", at_most(IDLE_MB)), f"<= {IDLE_MB} MB"])
    rows.append(["processes, nothing loaded", cell(count, 0, met=at_most(1)), "1"])
    kept = summary.figure("unload", system="glia")
    rows.append(
        ["RSS after an unload less before the load", cell(kept, 0, " MB", at_most(KEPT_MB)), f"<= {KEPT_MB} MB"]
    )
    crowds = summary.having("crowd", system="glia")
    counts: Counter[str] = Counter()
    for row in crowds:
        counts.update({name: int(count) for name, _, count in (part.partition(":") for part in row.note.split())})
    text = ", ".join(f"{count:,} x {name}" for name, count in sorted(counts.items()) if count)
    fine = all(name in ("200", "503") for name, count in counts.items() if count)
    if crowds:
        rows.append([f"answers to {crowds[0].clients} clients", text if fine else f"**{text}**", "only 200 and 503"])
    return table(["what", "measured", "target"], [row for row in rows if row[1] != "-"])


def everything(summary: Summary, scenes: Summary, machine: dict[str, str]) -> list[str]:
    """The whole page, under headings; `scenes`: the run whose scenarios are shown."""
    parts = (
        ("Glia, the limit, the twin, the peers", headline(summary)),
        ("The small targets", small_targets(scenes)),
        ("Every system, 16 clients, over the limit measured beside it", shares(summary)),
        ("Every system, requests/s by clients", by_clients(summary)),
        ("Every system, latency", latency(summary)),
        ("Every system: start, memory, disk", footprint(summary)),
        ("Cost of one picture", costs(summary)),
        ("Decoding, beside Pillow", decoding(scenes)),
        ("Models loaded", models(scenes)),
        ("Sizes of pictures", sizes(scenes)),
        ("Clients beside a batch", beside(scenes)),
        ("Not measured", [f"- {row.system}, {row.network}: {row.note}" for row in summary.having("refused")]),
        ("Versions", [f"- {part}" for part in machine.get("versions", "").split("; ")]),
    )
    return [line for name, lines in parts if lines for line in (f"## {name}", "", *lines, "")]


def _systems(summary: Summary) -> list[str]:
    return sorted(summary.distinct("system"))


def shares(summary: Summary) -> list[str]:
    """Requests/s and share of the limit; the share cancels changes of the machine's speed within a round."""
    rows = []
    for network in summary.distinct("network"):
        for picture in summary.distinct("picture"):
            for system in _systems(summary):
                ours = summary.by_round(system, rps, network, picture)
                share = summary.ratio(ours, summary.limit(system, network, picture))
                if ours:
                    figures = summary.figure(
                        "closed", "rps", system=system, network=network, picture=picture, clients=16
                    )
                    rows.append([network, picture, system, cell(figures, 1), cell(share)])
    return table(["network", "picture", "system", "requests/s", "x limit"], rows)


def by_clients(summary: Summary) -> list[str]:
    """Detailed picture, first network."""
    shared = _first(summary)
    rows = [
        [
            system,
            *(cell(summary.figure("closed", "rps", system=system, clients=c, **shared), 1) for c in (1, 16, 64)),
            str(sum(row.failed for row in summary.having("closed", system=system))),
        ]
        for system in _systems(summary)
    ]
    return table(["system", "1 client", "16 clients", "64 clients", "failed requests, all cells"], rows)


def latency(summary: Summary) -> list[str]:
    """Detailed picture, first network; closed loop with 16 clients, and the open loop."""
    shared = _first(summary)
    rows = []
    for system in _systems(summary):
        cells = [
            cell(summary.figure("closed", column, system=system, clients=clients, **shared), 1)
            for clients, column in ((1, "p50_ms"), (16, "p50_ms"), (16, "p99_ms"))
        ]
        for column in ("p50_ms", "p99_ms"):
            cells.append(cell(summary.figure("open", column, system=system, **shared), 1))
        lost = sum(row.failed for row in summary.having("open", system=system))
        rows.append([system, *cells, str(lost)])
    heads = ["system", "p50, 1 client [ms]", "p50, 16 [ms]", "p99, 16 [ms]", "p50, open [ms]", "p99, open [ms]"]
    return table([*heads, "unanswered, open"], rows)


def _first(summary: Summary) -> dict[str, object]:
    return {
        "network": next(iter(summary.distinct("network")), ""),
        "picture": next(iter(summary.distinct("picture")), ""),
    }


def footprint(summary: Summary) -> list[str]:
    """First network; RSS counts shared pages in every process, PSS once. Disk: of the whole environment."""
    network = _first(summary)["network"]
    rows = []
    for system in _systems(summary):
        shared = {"system": system, "network": network}
        places = {"glia": "glia", "glia-fp32": "glia", "twin": "fastapi", "twin-fp32": "fastapi"}
        disk = summary.figure("install", system=places.get(system, system.partition("-")[0]))
        rows.append(
            [
                system,
                cell(summary.figure("start", note="warm disk cache", **shared), 2),
                cell(summary.figure("rss", note="after the first answer", **shared), 0),
                cell(summary.figure("rss", note="loaded", **shared), 0),
                cell(summary.figure("pss", note="loaded", **shared), 0),
                cell(summary.figure("processes", note="loaded", **shared), 0),
                cell(disk, 0),
            ]
        )
    heads = ["system", "first answer [s]", "RSS after it [MB]", "RSS after load [MB]", "PSS after load [MB]"]
    return table([*heads, "processes", "disk [MB]"], rows)


def costs(summary: Summary) -> list[str]:
    """What one picture costs a core, all cores busy."""
    rows = []
    for network in summary.distinct("network", "limit"):
        for picture in summary.distinct("picture", "limit"):
            shared = {"network": network, "picture": picture, "note": "glia"}
            rows.append(
                [
                    f"{network}, {picture}",
                    cell(summary.figure("decode", **shared)),
                    cell(summary.figure("run", **shared)),
                    cell(summary.figure("limit", "rps", **shared), 0),
                ]
            )
    heads = ["network, picture", "decode and resize [core-ms]", "run [core-ms]", "limit of the machine [1/s]"]
    return table(heads, [row for row in rows if row[1] != "-"])


def decoding(summary: Summary) -> list[str]:
    """From a JPEG to pixels of at least 256 a side."""
    rows = []
    for picture in summary.distinct("picture", "decoder"):
        cells = [
            cell(summary.figure("decoder", system=system, picture=picture))
            for system in summary.distinct("system", "decoder")
        ]
        rows.append([picture, *cells])
    return table(["core-ms", *summary.distinct("system", "decoder")], rows)


def models(summary: Summary) -> list[str]:
    """1 to 8 models loaded, asked in turn by 16 clients."""
    rows = [
        [
            note,
            cell(summary.figure("models", "rps", note=note), 1),
            cell(summary.figure("models", "p99_ms", note=note), 0),
            cell(summary.figure("rss", note=note), 0),
            cell(summary.figure("pss", note=note), 0),
        ]
        for note in summary.distinct("note", "models")
    ]
    return table(["loaded", "requests/s", "p99 [ms]", "RSS [MB]", "PSS [MB]"], rows)


def sizes(summary: Summary) -> list[str]:
    """By size of the picture, 16 clients."""
    rows = []
    for picture in summary.distinct("picture", "size"):
        for system in summary.distinct("system", "size"):
            shared = {"picture": picture, "system": system}
            load = {row.round: row.rps for row in summary.having("size", **shared)}
            limit = {row.round: row.rps for row in summary.having("size-limit", picture=picture, note=system)}
            share = summary.ratio(load, limit)
            figures = (summary.figure("size", column, **shared) for column in ("rps", "p50_ms", "p99_ms"))
            rows.append([picture, system, *(cell(found, 1) for found in figures), cell(share)])
    return table(["picture", "system", "requests/s", "p50 [ms]", "p99 [ms]", "x limit"], rows)


def beside(summary: Summary) -> list[str]:
    """Latency alone and beside a batch; pictures a second of the batches."""
    rows = []
    for row in summary.having("beside"):
        found = [row.note, str(row.clients)]
        if found not in [each[:2] for each in rows]:
            shared = {"note": row.note, "clients": row.clients}
            figures = (summary.figure("beside", column, **shared) for column in ("p50_ms", "p99_ms", "rps"))
            rows.append([*found, *(cell(each, 1) for each in figures)])
    lines = table(["beside", "clients", "p50 [ms]", "p99 [ms]", "requests/s"], rows)
    done = [[note, cell(summary.figure("batch", "rps", note=note), 1)] for note in summary.distinct("note", "batch")]
    return [*lines, "", *table(["batch", "pictures/s"], done)] if lines else []
