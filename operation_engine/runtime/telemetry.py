"""Logs and metrics of every process: structlog lines and the Prometheus registry.

Names of log keys and metrics are an interface (docs/operate/observability.md lists them; a test compares).
"""

import logging
import sys
from importlib.metadata import version
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

PREFIX = "vworkspace_operator"
REGISTRY = CollectorRegistry()
_DURATIONS_S = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200)

disable_created_metrics()  # type: ignore[no-untyped-call]

RECONCILES = Counter(
    f"{PREFIX}_reconcile_total", "Decisions of a controller, by result.", ["controller", "result"], registry=REGISTRY
)
OPERATIONS_ENDED = Counter(
    f"{PREFIX}_operation_total",
    "Operations that ended, by how.",
    ["type", "engine", "phase", "reason"],
    registry=REGISTRY,
)
OPERATION_SECONDS = Histogram(
    f"{PREFIX}_operation_duration_seconds",
    "From an Operation's first status to its end.",
    ["type"],
    registry=REGISTRY,
    buckets=_DURATIONS_S,
)
STEP_SECONDS = Histogram(
    f"{PREFIX}_operation_step_duration_seconds",
    "From the start of a step to its end.",
    ["type", "step"],
    registry=REGISTRY,
    buckets=_DURATIONS_S,
)
OPERATIONS = Gauge(
    f"{PREFIX}_operations", "Operations in the cluster now, by type and phase.", ["type", "phase"], registry=REGISTRY
)
ATTEMPTS = Counter(
    f"{PREFIX}_operation_attempts_total", "Attempts that began, by cause.", ["type", "cause"], registry=REGISTRY
)
LAST_SUCCESSFUL_BACKUP = Gauge(
    f"{PREFIX}_last_successful_backup_timestamp_seconds",
    "When a target's latest verified backup ended.",
    ["operation_namespace", "target"],
    registry=REGISTRY,
)
WATCH_LAST_ACTIVITY = Gauge(
    f"{PREFIX}_watch_last_activity_seconds",
    "Seconds since the API server was last heard on a watch.",
    ["resource"],
    registry=REGISTRY,
)
MANAGED_NAMESPACES = Gauge(f"{PREFIX}_managed_namespaces", "Namespaces that hold Operations.", registry=REGISTRY)


def engine_version() -> str:
    return version("vworkspace-operation-engine")


def get_logger(name: str) -> Any:
    return structlog.get_logger(name)


def configure_logging(log_format: str, level: str, **always: str) -> None:
    """JSON lines with `ts level msg` first, or readable lines on a terminal; `always` stands on every line."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if text else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp" if text else "ts"),
        structlog.processors.format_exc_info,
    ]
    rename = [] if text else [structlog.processors.EventRenamer("msg"), _first("ts", "level", "msg")]
    minimum = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, _with(always), *rename, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _bridge_standard_logging([*shared, _with(always), *rename], renderer, minimum)


def _with(always: dict[str, str]) -> Any:
    def add(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        return {**{"operator_version": engine_version()}, **always, **event}

    return add


def _first(*keys: str) -> Any:
    """These keys first, and no empty ones: people read JSON lines too."""

    def order(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        head = {key: event[key] for key in keys if key in event}
        return head | {key: value for key, value in event.items() if value not in (None, "")}

    return order


def _bridge_standard_logging(processors: list[Any], renderer: Any, minimum: int) -> None:
    """Libraries' log lines (Temporal's among them) take the same form."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=processors,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(minimum, logging.INFO))
    # Every failed activity is logged once, by activities.failures; the SDK would add a traceback to each.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
