"""`make bench`: what the engine adds to Velero's own work, measured side by side in one run.

Ratios, not absolute times: the machine may be shared. Nothing here is a test.
"""

import statistics

from bench.latency import Latency, latencies
from bench.memory import memory
from bench.requests import requests_per_operation
from bench.stack import Stack, stack

ROUNDS = 12
OPEN = 200


def main() -> None:
    with stack() as built:
        for line in (*_latency_lines(built), *_memory_lines(built)):
            print(line, flush=True)


def _latency_lines(built: Stack) -> list[str]:
    audit_before = requests_per_operation(built)
    found = latencies(built, ROUNDS)
    requests = requests_per_operation(built, audit_before) / ROUNDS
    return [
        *_ratio_lines(found),
        _percentiles("(b) Velero's last phase change -> status tells it", [x.told_ms for x in found]),
        _percentiles("    Velero's last phase change -> Succeeded, verified", [x.succeeded_ms for x in found]),
        f"(c) requests to the API server per Operation       {requests:8.1f}    aim <= 25",
    ]


def _ratio_lines(found: list[Latency]) -> list[str]:
    ours, velero = ([getattr(x, name) for x in found] for name in ("ours_s", "velero_s"))
    ratio = statistics.median(a / b for a, b in zip(ours, velero, strict=True))
    return [
        f"{ROUNDS} rounds, in turn, one namespace",
        f"(a) kubectl apply ... Succeeded, median             {statistics.median(ours):8.2f} s",
        f"    velero backup create --wait, median             {statistics.median(velero):8.2f} s",
        f"    ratio, median of pairs                          {ratio:8.2f}    aim <= 1.3",
    ]


def _percentiles(title: str, values: list[float]) -> str:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return f"{title:50} p50 {statistics.median(values):5.0f} ms   p99 {p99:5.0f} ms"


def _memory_lines(built: Stack) -> list[str]:
    found = memory(built, OPEN)
    return [
        f"(d) worker, {OPEN} Operations open                     {found.open_mb:8.1f} MB, {found.idle_mb:.1f} MB idle",
        f"    per open Operation                              {found.per_operation_kb:8.1f} KB",
        f"    controller                                      {found.controller_mb:8.1f} MB",
        f"    requests per second while they wait             {found.requests_per_s:8.2f}    aim 0 (no polling)",
    ]


if __name__ == "__main__":
    main()
