import pytest

from entrepot.catalog.schemas import body_schema, compile_schema, first_mistake, mistakes_of
from entrepot.connectors.base import Argument, CallMapping, Field, ModelMapping

TYPES = (
    "char", "text", "html", "integer", "float", "monetary", "boolean", "date", "datetime", "selection", "many2one",
    "many2many", "binary", "reference",
)  # fmt: skip
LINES = Field(
    "lines",
    ("order_line",),
    "one2many",
    fields=(
        Field("product", ("product_id", "default_code"), "char", required=True),
        Field("price", ("price",), "float"),
    ),
)
MAPPING = ModelMapping(
    "sale.order",
    (
        *(Field(kind, (kind,), kind, choices=("a", "b") if kind == "selection" else None) for kind in TYPES),
        Field("ref", ("ref",), "char", required=True, max_length=5),
        Field("number", ("name",), "char", read_only=True),
        Field("country", ("country_id", "code"), "char", relation="res.country"),
        Field("level", ("level_id", "rank"), "integer", relation="level"),
        Field("secret", ("secret",), "char", write_only=True),
        LINES,
    ),
)
RIGHT = {
    "char": "x",
    "integer": -5,
    "float": 1,
    "monetary": 1.5,
    "boolean": False,
    "date": "2026-02-28",
    "datetime": "2026-02-28T10:00:00+01:00",
    "selection": "a",
    "many2one": 14,
    "many2many": [1, 2],
    "binary": "aGVsbG8=",
    "reference": "res.partner,14",
    "ref": "abcde",
    "country": "DE",
    "lines": [{"product": "CHAIR", "price": 5}],
}


@pytest.fixture(scope="module")
def create():
    return compile_schema(body_schema(MAPPING, "create"))


@pytest.fixture(scope="module")
def update():
    return compile_schema(body_schema(MAPPING, "update"))


def places(validator, body):
    return {mistake.path: mistake.message for mistake in mistakes_of(validator, body)}


def test_a_right_body_has_no_mistake(create, update):
    assert places(create, RIGHT) == {}
    assert places(update, RIGHT) == {}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"char": 5}, "/char"),
        ({"char": "a\0b"}, "/char"),
        ({"text": "\0"}, "/text"),
        ({"integer": 2**31}, "/integer"),
        ({"integer": 1.5}, "/integer"),
        ({"integer": True}, "/integer"),
        ({"integer": None}, "/integer"),
        ({"float": "1"}, "/float"),
        ({"float": 1e308}, "/float"),
        ({"monetary": -1.1e15}, "/monetary"),
        ({"boolean": 0}, "/boolean"),
        ({"boolean": None}, "/boolean"),
        ({"date": "2026-02-30"}, "/date"),
        ({"date": "0000-01-01"}, "/date"),
        ({"date": "28.2.2026"}, "/date"),
        ({"datetime": "2026-02-28 10:00:00"}, "/datetime"),
        ({"datetime": "2026-02-28T10:00:00"}, "/datetime"),
        ({"datetime": "2026-02-28T10:00:60Z"}, "/datetime"),
        ({"datetime": "2026-02-28T25:00:00Z"}, "/datetime"),
        ({"selection": "c"}, "/selection"),
        ({"many2one": 0}, "/many2one"),
        ({"many2one": "14"}, "/many2one"),
        ({"many2many": [1, "2"]}, "/many2many/1"),
        ({"many2many": None}, "/many2many"),
        ({"binary": "%%%"}, "/binary"),
        ({"reference": "res.partner"}, "/reference"),
        ({"ref": "abcdef"}, "/ref"),
        ({"ref": None}, "/ref"),
        ({"ref": ""}, "/ref"),
        ({"lines": [{"product": ""}]}, "/lines/0/product"),
        ({"number": "SO1"}, "/number"),
        ({"nothing": 1}, "/nothing"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"country": 5}, "/country"),
        ({"lines": [{"product": "A"}, {}]}, "/lines/1/product"),
        ({"lines": [{"product": "A", "price": "5"}]}, "/lines/0/price"),
        ({"lines": [{"product": "A", "colour": 1}]}, "/lines/0/colour"),
        ({"lines": [{"product": "A"}] * 1001}, "/lines"),
        ({"lines": None}, "/lines"),
        ([], ""),
        (None, ""),
    ],
)
def test_each_mistake_has_the_pointer_of_its_place(update, body, place):
    assert list(places(update, body)) == [place]


def test_a_create_wants_the_required_fields_and_an_update_none(create, update):
    assert places(create, {}) == {"/ref": "is required"}
    assert places(update, {}) == {}


def test_null_clears_what_odoo_can_hold_empty(update):
    clearable = ("char", "text", "html", "date", "datetime", "selection", "many2one", "binary", "country", "level")

    assert places(update, dict.fromkeys(clearable)) == {}


def test_a_mistake_says_what_it_is_about(create):
    found = places(create, {"ref": "\0", "number": 1, "nothing": 1, "date": "x"})

    assert found == {
        "/ref": "holds a NUL character",
        "/number": "is read-only: leave it out",
        "/nothing": "is not a field of this endpoint",
        "/date": "is not a date of the form 2026-01-31",
    }


def test_a_huge_value_is_not_repeated_in_the_message(create):
    (message,) = places(create, {"ref": "x" * 2_000_000}).values()

    assert len(message) < 300
    assert message.endswith("is longer than 5 characters")


def test_no_more_than_a_hundred_mistakes_are_told(create):
    assert len(mistakes_of(create, {"ref": "x", "lines": [{}] * 1000})) == 100


def test_a_call_takes_the_arguments_of_its_body():
    mapping = CallMapping(
        "sale.order",
        "cancel",
        arguments=(
            Argument("reason", body_field="why"),
            Argument("count", body_field="count", type="integer", required=False),
            Argument("day", body_field="day", type="date", has_default=True, default="2026-01-01"),
            Argument("more", body_field="more", type="object", required=False),
            Argument("list", body_field="list", type="array", required=False),
            Argument("who", template="{client}"),
        ),
    )
    validator = compile_schema(body_schema(mapping, "call"))

    assert places(validator, {"why": "late", "count": 2, "more": {"a": [1]}}) == {}
    assert places(validator, {}) == {"/why": "is required"}
    assert list(places(validator, {"why": "x", "who": "me"})) == ["/who"]
    assert set(places(validator, {"why": "x", "more": {"a": ["\0"]}, "list": {}})) == {"/list", "/more/a/0"}


def test_a_call_without_arguments_takes_an_empty_object():
    validator = compile_schema(body_schema(CallMapping("a", "b"), "call"))

    assert validator.is_valid({})
    assert not validator.is_valid({"x": 1})


def test_a_line_that_names_its_id_is_changed_and_needs_nothing_more():
    lines = Field(
        "lines",
        ("order_line",),
        type="one2many",
        fields=(
            Field("id", ("id",), type="integer", read_only=True),
            Field("product", ("product_id", "default_code"), required=True),
            Field("quantity", ("product_uom_qty",), type="float"),
        ),
    )
    mapping = ModelMapping("sale.order", (lines,), ("create", "update"))
    update = compile_schema(body_schema(mapping, "update"))
    create = compile_schema(body_schema(mapping, "create"))

    assert mistakes_of(update, {"lines": [{"id": 7, "quantity": 2}, {"product": "A"}]}) == ()
    assert [m.path for m in mistakes_of(update, {"lines": [{"quantity": 2}]})] == ["/lines/0/product"]
    assert [m.path for m in mistakes_of(create, {"lines": [{"id": 7, "product": "A"}]})] == ["/lines/0/id"]


def test_a_body_has_bounds_everywhere(create):
    call = CallMapping("m", "f", arguments=(Argument("rows", body_field="rows", type="array"),))
    free = compile_schema(body_schema(call, "call"))

    assert not create.is_valid({"name": "x" * 10_000_001})
    assert len(mistakes_of(create, {f"x{number}": 1 for number in range(1000)})) == 100
    assert not free.is_valid({"rows": [0] * 100_001})
    assert not free.is_valid({"rows": [{f"x{number}": 1 for number in range(10_001)}]})
    assert not free.is_valid({"rows": [{"x" * 1001: 1}]})
    assert not free.is_valid({"rows": ["x" * 10_000_001]})
    assert free.is_valid({"rows": [0] * 100_000})


def test_the_first_mistake_is_one_of_all(create):
    body = {"name": 1, "unknown": 2}

    assert set(first_mistake(create, body)) < set(mistakes_of(create, body))
    assert first_mistake(compile_schema({}), body) == ()
