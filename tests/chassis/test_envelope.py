from __future__ import annotations

import json

from entrepot.chassis.envelope import envelope, envelope_bytes


def test_meta_stands_before_data():
    assert json.dumps(envelope("id-1", [1], pagination=None)) == (
        '{"meta": {"operation_id": "id-1", "pagination": null}, "data": [1]}'
    )


def test_the_bytes_say_what_the_dictionary_says():
    assert json.loads(envelope_bytes(b"id-1", b"[1,2]")) == envelope("id-1", [1, 2])
    assert json.loads(envelope_bytes(b"id-1", b"null", b'"total":7,"x":{}')) == envelope("id-1", None, total=7, x={})
