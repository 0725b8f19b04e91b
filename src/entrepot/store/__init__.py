"""The database: engine, tables by aggregate, and the migrations that make them.

``engine`` opens a database and gives transactions, ``schema`` upgrades it and says whether this release runs on it,
``base`` is what every table has. One module holds the tables of one aggregate: ``identity``, ``catalog``, ``ledger``.

``backend`` is what the engine asks of a kind of database, ``sqlite`` and ``postgresql`` are the kinds. On both a writer
has the one right to write until its commit, writers take turns in the order in which they come, and what is committed
survives a power cut.
"""
