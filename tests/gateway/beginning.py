"""A daemon that is ready to be spoken to."""

from concurrent.futures import ThreadPoolExecutor

from tokens import Mint


def begin(daemon):
    """Bring the catalog in, start the daemon, and make a token for each client."""
    daemon.apply("catalog.yaml", daemon.document)
    daemon.start()
    with ThreadPoolExecutor(1) as pool:
        genuine = pool.submit(daemon.issue, "shop")
        daemon.wait_ready()
        daemon.genuine = genuine.result()
    daemon.mint = Mint(daemon.genuine, daemon.store / "keys")
    for partner, entry in daemon.document["partners"].items():
        for client, spec in entry["clients"].items():
            daemon.tokens[client] = daemon.mint.client(client, partner, spec["scopes"])
