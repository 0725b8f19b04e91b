"""What tests of the portal send."""

from entrepot.store.audit import Actor

FORM = {"grant_type": "client_credentials"}
OPERATOR = Actor("test", "command", "none")
