"""The catalog of the fault tests: relays to the witness in each write mode, for three partners, one with low limits."""

WRITE = "things.write"
RETRY = {"first": "100ms", "factor": 2, "ceiling": "1s", "age": "1h"}


MAX_QUEUED = 400
MAX_QUEUED_BYTES = 1 << 20


def endpoint(path: str, write: str, **more) -> dict:
    """Return a relay of ``/v1<path>`` in write mode *write*."""
    return {
        "path": f"/v1{path}", "upstream": "witness", "relay": path, "methods": ["POST", "PUT", "PATCH", "DELETE"],
        "write": write, "scopes": {"write": WRITE}, "retry": RETRY, **more,
    }  # fmt: skip


def catalog(url: str, **upstream) -> dict:
    """Return the catalog over the witness at *url*. *upstream* changes its upstream.

    ``/v1/lanes/{lane}`` keeps the order of each lane; ``/v1/crowd`` is queued in any order; ``/v1/ready/{lane}`` goes
    directly while it can and keeps the order of each lane; ``/v1/direct`` is never queued.
    """
    witness = {
        "kind": "http", "url": url, "timeout": "500ms", "connect_timeout": "500ms", "settle": "1s",
        "breaker": {"failures": 5, "open": "300ms"}, **upstream,
    }  # fmt: skip
    scopes = {"scopes": [WRITE]}
    little = {"max_queued": MAX_QUEUED, "max_queued_bytes": MAX_QUEUED_BYTES}
    return {
        "upstreams": {"witness": witness},
        "endpoints": {
            "lanes": endpoint("/lanes/{lane}", "queue", order="record"),
            "crowd": endpoint("/crowd", "queue", order="none"),
            "ready": endpoint("/ready/{lane}", "auto", order="record", patience="300ms"),
            "direct": endpoint("/direct", "direct"),
        },
        "partners": {
            "azure": {"name": "Azure", "clients": {"shop": scopes, "depot": scopes}, "max_queued": 1_000_000},
            "deco": {"name": "Deco", "clients": {"rival": scopes}, "max_queued": 1_000_000},
            "acme": {"name": "Acme", "clients": {"hoarder": scopes}, **little},
        },
    }
