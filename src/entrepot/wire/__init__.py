"""HTTP/1.1 on asyncio (uvloop where installed) and llhttp: bytes in, messages out.

The package knows nothing of what the messages are about. Everything runs by callback on one loop; only making a
connection uses a task. The owner of the loop calls ``tick`` of the clock and ``sweep`` of every server and pool a few
times a second: deadlines are compared then, and nowhere else.

* ``limits.Limits`` - what a peer may ask for, in bytes and seconds
* ``clock.Clock`` - the coarse clock that everything here reads
* ``server.Server``, ``server.ServerConnection``, ``server.Request`` - connections of peers; the user subclasses Request
* ``listener.Listener`` - accepts connections so that several processes on one socket get about as many each
* ``pool.Pool`` - connections to one upstream; ``client.Receiver``, ``client.ClientConnection``, ``client.Failure``,
  ``client.Fault`` - who gets the answer, where it comes from, and why there is none

Inside: ``framing`` (what a head must fulfil beyond llhttp), ``chunks`` (where a chunked body ends), ``connection`` and
``outbound`` (the two halves of a server connection), ``request``, ``call``. A server connection reads one message at a
time and cuts it out exactly before the parser sees it, so nothing of one request is ever taken for part of another.
"""
