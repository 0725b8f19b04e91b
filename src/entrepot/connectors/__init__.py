"""What speaks to upstreams.

``base`` has what the gateway asks of any of them; ``link`` is the live side of one (``places``, ``breaker``,
connections); ``http`` relays and ``delivery`` does so from the ledger; ``odoo`` works on records; ``faults`` says
which writes are tried again; ``secrets`` reads credentials.
"""
