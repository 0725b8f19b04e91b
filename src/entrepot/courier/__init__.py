"""The courier delivers what the ledger holds: it claims work, delivers it, and settles what came of it.

``courier`` is the loop of one process, ``lane`` what it knows of one upstream, ``leases`` the work it holds,
``deliver`` one delivery, ``verdict`` what follows from its outcome, ``sounder`` finds out when an upstream is back,
``standing`` whether the upstream fits the catalog, ``holds`` what is held back; ``books`` is its side of the ledger,
``metrics`` what it counts.
"""
