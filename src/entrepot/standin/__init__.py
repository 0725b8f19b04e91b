"""A stand-in for an Odoo 14 ERP, for demonstrations and tests: two models over JSON-RPC, kept in SQLite.

``server.StandIn`` serves it on loopback. It says that it is a stand-in in its version, its ``Server`` header, the names
of its records, its log and its page. Names of models and fields, answers and errors are those of a real Odoo 14, so
that one catalog works on both; what it does not have, it refuses. It is not part of the gateway: only the command
line and tests import it.
"""
