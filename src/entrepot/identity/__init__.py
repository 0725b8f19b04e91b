"""Who calls: partners and their clients, signing keys, access tokens, and what was revoked.

``partners`` are values of the catalog, ``keys`` the signing keys of a host, ``tokens`` issues and verifies,
``revocation`` is the file of what is refused: these work without a database. ``desk`` is for operators: it issues and
revokes and writes both down in the store.
"""
