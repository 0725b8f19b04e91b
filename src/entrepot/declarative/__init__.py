"""Catalog files: read and checked (``document``), compared (``diff``), brought into force (``apply``), and written.

``reader`` makes trees with file and line of YAML, ``types`` asks the live upstreams for field types, ``export`` writes.
"""
