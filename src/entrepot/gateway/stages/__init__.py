"""The stages of a request, one file each; their order stands in ``gateway.pipeline`` alone.

A stage takes the exchange. It returns None to pass on, ``DONE`` when the exchange is answered or will be, or raises an
error of ``entrepot.errors``. It never calls another stage.
"""
