"""gateway.queries: query strings of lists."""

import pytest

from entrepot.connectors.base import Field, ListQuery, ModelMapping
from entrepot.errors import UnknownParameter
from entrepot.gateway.queries import list_query, page_links, shown_fields

MAPPING = ModelMapping(
    model="res.partner",
    fields=(
        Field("name", ("name",)),
        Field("secret", ("secret",), write_only=True),
        Field("age", ("age",), type="integer"),
    ),
    search=("name",),
    sort=("name", "id"),
)


def test_nothing_asked_is_the_first_page():
    assert list_query(b"", MAPPING) == ListQuery(limit=25, offset=0)


def test_every_part_of_a_query_is_read():
    asked = list_query(
        b"name=x&name[like]=%C3%A9&age[in]=1,2&search=a+b&sort=-name,id&fields=id,name&limit=10&offset=20&total=true",
        MAPPING,
    )

    assert asked == ListQuery(
        filters=(("name", "=", "x"), ("name", "like", "é"), ("age", "in", ["1", "2"])),
        search="a b",
        sort=(("name", True), ("id", False)),
        fields=("id", "name"),
        limit=10,
        offset=20,
        total=True,
    )


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        (b"limit=0", "limit"), (b"limit=-1", "limit"), (b"limit=101", "limit"), (b"limit=NaN", "limit"),
        (b"limit=1_0", "limit"),
        (b"limit=%205", "limit"), (b"limit=1&limit=2", "limit"), (b"offset=99999999999999999999", "offset"),
        (b"offset=x", "offset"), (b"nope=1", "nope"), (b"secret=1", "secret"), (b"name[regex]=1", "name[regex]"),
        (b"name[like=1", "name[like"), (b"sort=age", "sort"), (b"fields=secret", "fields"), (b"total=1", "total"),
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_is_named(query, parameter):
    with pytest.raises(UnknownParameter) as caught:
        list_query(query, MAPPING)

    assert [mistake.path for mistake in caught.value.errors] == [parameter]


def test_all_mistakes_of_a_query_are_told_at_once():
    with pytest.raises(UnknownParameter) as caught:
        list_query(b"limit=0&offset=-1&nope=1", MAPPING)

    assert {mistake.path for mistake in caught.value.errors} == {"limit", "offset", "nope"}


@pytest.mark.parametrize("query", [b"a=%ff", b"&".join(b"a=%d" % n for n in range(60))])
def test_a_query_that_is_no_query_is_refused(query):
    with pytest.raises(UnknownParameter):
        list_query(query, MAPPING)


def test_a_single_record_takes_only_fields():
    assert shown_fields(b"fields=name", MAPPING) == ("name",)
    with pytest.raises(UnknownParameter):
        shown_fields(b"limit=1", MAPPING)


def test_links_keep_the_other_parameters_and_their_escapes():
    query = b"name=a%26b&name=c&limit=10&offset=5"

    links = page_links("/v1/x", query, ListQuery(limit=10, offset=5), has_next=True)

    assert links == {
        "next": "/v1/x?name=a%26b&name=c&offset=15&limit=10",
        "prev": "/v1/x?name=a%26b&name=c&offset=0&limit=5",
    }


def test_the_first_and_last_page_have_no_links():
    assert page_links("/v1/x", b"", ListQuery(), has_next=False) == {"next": None, "prev": None}
