"""Records of an Odoo ERP as plain JSON: list, read, create, update, delete, and calls of single methods.

``connector.OdooConnector`` is what the gateway uses. Below it:

* ``wire`` is what any of Odoo's protocols must offer, ``jsonrpc`` the one for Odoo 14 (``json2`` and ``xmlrpc`` fit);
* ``refusals`` says when a refused login is tried again;
* ``faults`` makes the gateway's errors of Odoo's; ``session`` is one operation's way into Odoo;
* ``domains`` binds records to the caller and turns queries into domains;
* ``values`` converts single values, ``reading`` and ``writing`` whole records, ``calls`` arguments and results;
* ``keys`` keeps natural keys unique, ``checks`` asks Odoo what it requires and which related records there are;
* ``load`` makes the rows of a create that can be repeated, ``repeats`` finds out what came of an update;
* ``mapping`` says what of a mapping cannot work.
"""
