"""Alembic's environment: ``env`` and ``versions``, one file a change, in one line.

A revision is named ``s<schema>_<number>``. The number grows with every change, the schema with every release that
changes something; a release runs on its own schema and on the next (``entrepot.store.schema``). So a change adds
first, and takes away what is no longer used a release later.
"""
