"""The reusable service chassis: it knows no word of this project.

``config`` (settings files), ``operation`` (the id of a request), ``log``, ``envelope``, ``errors`` (problems),
``metrics``, ``limits``, ``etag``; ``web`` is the part for Flask faces and the only one that imports Flask.
Nothing is imported here, so that the data plane loads only what it uses.
"""
