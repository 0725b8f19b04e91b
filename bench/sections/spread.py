"""``spread``: how evenly kept connections fall to four workers, counted by the kernel's tables."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from bench import Bench, start_upstream
from children import connections
from figures import Figure, Goal, Result, Table, median
from subject import Subject, relays, start_subject

CONNECTIONS = 200
WORKERS = 4
_GOAL = Goal(1.5, 1.2, upward=False)


def measure(bench: Bench, result: Result) -> None:
    """Add busiest worker against mean: 200 connections at once, and one after the other."""
    upstream = start_upstream(bench, cpus="0,1")
    subject = start_subject(bench, "gateway", relays(upstream.url), workers=WORKERS, cpus="0,1")
    at_once = [_counts(subject, together=True) for _ in range(bench.rounds)]
    in_turn = [_counts(subject, together=False) for _ in range(bench.rounds)]
    what = f"{CONNECTIONS} kept connections, {WORKERS} workers, busiest against mean"
    result.add(
        Figure(f"{what}: opened at once", median(map(_excess, at_once)), "", _GOAL, _worst(at_once)),
        Figure(f"{what}: one after the other", median(map(_excess, in_turn)), "", _GOAL, _worst(in_turn)),
        Table(
            "Connections of each worker, by round",
            ("opened", *(f"worker {at + 1}" for at in range(WORKERS))),
            tuple(
                (name, *map(str, counts))
                for name, rounds in (("at once", at_once), ("in turn", in_turn))
                for counts in rounds
            ),
        ),
    )


def _counts(subject: Subject, *, together: bool) -> list[int]:
    """Open the connections, each with one request, and return how many each worker holds, the most first."""
    requests = subject.requests("/v1/items/1")
    with ExitStack() as stack:
        opened = []
        for _ in range(CONNECTIONS):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", subject.port), timeout=10))
            opened.append(peer)
            if not together:
                _ask(peer, next(requests))
        if together:
            for peer in opened:
                _ask(peer, next(requests))
        counts = sorted((connections(pid, subject.port) for pid in subject.workers), reverse=True)
    time.sleep(0.5)  # The workers tell each other four times a second how many they have.
    return counts


def _ask(peer: socket.socket, request: bytes) -> None:
    peer.sendall(request)
    answer = peer.recv(65_536)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"the gateway answered {answer[:80]!r}")


def _excess(counts: list[int]) -> float:
    return max(counts) / (sum(counts) / len(counts))


def _worst(rounds: list[list[int]]) -> str:
    return f"worst round {max(map(_excess, rounds)):.2f}"
