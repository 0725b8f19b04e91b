"""The catalog: what endpoints, upstreams and partners there are, checked, stored by revision, and compiled.

``definitions`` are the values, ``tables`` and ``endpoint_tables`` say which keys an object has, ``check`` finds every
mistake of a document, ``fields`` adds the field types of the live Odoo, ``schemas`` and ``parameters`` say what an
endpoint takes, ``revisions`` keeps all of it in the database, ``snapshot`` is the file that workers read, ``routing``
finds the endpoint of a path. This file imports nothing, so that the data plane can import the snapshot alone.
"""
