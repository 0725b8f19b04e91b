"""A daemon that is ready to be spoken to."""

from tokens import Mint


def begin(daemon):
    """Bring the catalog in, start the daemon, and make a token for each client."""
    for name, document in daemon.documents.items():
        daemon.apply(name, document)
    daemon.start()
    daemon.genuine = daemon.issue("shop")
    daemon.mint = Mint(daemon.genuine, daemon.store / "keys")
    for document in daemon.documents.values():
        for partner, entry in document["partners"].items():
            for client, spec in entry["clients"].items():
                daemon.tokens[client] = daemon.mint.client(client, partner, spec["scopes"])
    daemon.wait_ready()
