"""Who calls: partners and their clients, signing keys, access tokens, and what was revoked.

``partners`` are values of the catalog, ``master`` and ``keys`` the keys of a host, ``tokens`` issues and verifies,
``credential`` holds secrets and API keys of clients in a file, ``api_keys`` checks those on the data plane,
``revocation`` is the file of what is refused, ``admission`` the rule of who is let in: these work without a database.
``desk``, ``disabling``, ``refusing``, ``key_desk`` and ``credentials`` are for operators: what they do is
written down in the store.
"""
