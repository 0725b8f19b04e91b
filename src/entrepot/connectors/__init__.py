"""What speaks to upstreams.

``base`` has what the gateway asks of any of them; ``link`` is the live side of one (``places``, ``breaker``,
connections); ``http`` relays; ``odoo`` works on records; ``secrets`` reads credentials.
"""
