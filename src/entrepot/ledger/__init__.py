"""The durable record of what was accepted and must be delivered.

``states`` and ``entries`` are the words, ``retry`` and ``idempotency`` the rules; they know no database. The rest is
functions that work on a connection of the store: ``acceptance`` accepts, ``keys`` keeps what repetitions get,
``claim`` leases work to a courier, ``settle`` notes what came of it, ``operate`` is for operators and partners who
cancel, ``reading`` looks, ``retention`` forgets. ``writer`` runs them in a thread, many to one commit; by ``intake`` a
worker of the gateway has that done.

They share ``statements`` (SQL that is compiled once), ``codec`` (how values stand in columns), ``counts`` (what waits,
counted with each change), ``pauses`` (what is held), ``revival`` (what was held goes again) and ``clients``.
"""
