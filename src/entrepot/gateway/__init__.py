"""The data plane: a partner's request from the first byte to the log line.

``worker`` (a gunicorn worker) holds a ``gateway.Gateway``, which makes an ``exchange.Exchange`` for every request;
``pipeline`` says which ``stages`` it passes; ``relay`` and ``records`` call upstreams; ``table`` is a
catalog made ready.
"""
