"""The database: engine, tables by aggregate, and the migrations that make them.

``engine`` opens a database and gives transactions, ``schema`` upgrades it and says whether this release runs on it,
``base`` is what every table has. One module holds the tables of one aggregate: ``identity``, ``catalog``.

SQLite keeps to WAL with ``synchronous=FULL``: what is committed survives a power cut.
"""
