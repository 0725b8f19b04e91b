from __future__ import annotations

import logging

import pytest
from chassis_faces import problem_of, serve
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, Integer, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from entrepot.chassis.web import Api, ApiPaginatedMixin, ApiResource, Chassis


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "products"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


@pytest.fixture(params=[(ApiPaginatedMixin, ApiResource), (ApiResource, ApiPaginatedMixin)], ids=["first", "last"])
def products(request: pytest.FixtureRequest, app: Flask, engine: Engine) -> FlaskClient:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Product(id=number) for number in range(107))
        session.commit()

    def get(self):
        with Session(engine) as session:
            return [item.id for item in self.get_paginated_query_result(session.query(Product).order_by(Product.id))]

    return serve(app, get, path="/products", base=request.param)


def test_a_list_of_107_has_five_pages_with_links_to_the_next_and_previous(products: FlaskClient):
    seen, pages, url = [], [], "/products"
    while url:
        document = products.get(url).get_json()
        seen.append(document["data"])
        pages.append(document["meta"]["pagination"])
        url = pages[-1]["next"]

    assert [len(each) for each in seen] == [25, 25, 25, 25, 7]
    assert [item for page in seen for item in page] == list(range(107))
    link = "http://localhost/products?offset={}&limit=25"
    assert [each["next"] for each in pages] == [*map(link.format, (25, 50, 75, 100)), None]
    assert [each["prev"] for each in pages] == [None, *map(link.format, (0, 25, 50, 75))]


@pytest.mark.parametrize(
    "limit", ["0", "-1", "101", "abc", "1_0", "%205", "+5", "1e1", "99999999999999999999", "%D9%A3"]
)
def test_a_limit_out_of_bounds_is_a_mistake_and_the_view_is_not_called(products: FlaskClient, limit: str):
    document = problem_of(products.get(f"/products?limit={limit}"), 400)

    assert document["errors"][0]["message"].startswith("Invalid parameter 'limit=")
    assert document["errors"][0]["path"] == "limit"


def test_a_page_of_one_has_a_next_that_advances(products: FlaskClient):
    document = products.get("/products?limit=1").get_json()

    assert document["data"] == [0]
    assert document["meta"]["pagination"]["next"].endswith("?limit=1&offset=1")


def test_links_are_encoded_and_keep_every_value_in_its_place(products: FlaskClient):
    url = "/products?q=a%26b&tag=x&offset=30&tag=y&limit=10&offset=1&n=%C3%A9+%2B&odd=%FF&empty="

    links = products.get(url).get_json()["meta"]["pagination"]

    form = "http://localhost/products?q=a%26b&tag=x&offset={}&tag=y&limit=10&n=%C3%A9+%2B&odd=%FF&empty="
    assert links == {"next": form.format(40), "prev": form.format(20)}


@pytest.mark.parametrize("offset", ["99999999999999999999", "2147483648", "-1", "x"])
def test_an_offset_out_of_bounds_is_a_mistake(products: FlaskClient, offset: str):
    document = problem_of(products.get(f"/products?offset={offset}&limit=0"), 400)

    assert [each["message"] for each in document["errors"]] == [
        f"Invalid parameter 'offset={offset}'",
        "Invalid parameter 'limit=0'",
    ]


def test_the_largest_offset_is_a_page_without_items(products: FlaskClient):
    assert products.get("/products?offset=2147483647&limit=&x=").get_json()["data"] == []


def test_a_select_can_be_paged_too(app: Flask, engine: Engine):
    Base.metadata.create_all(engine)

    def get(self):
        with Session(engine) as session:
            session.add_all(Product(id=number) for number in range(30))
            return self.compute_has_next(list(session.scalars(self.apply_limits_to_query(select(Product.id)))))

    document = serve(app, get, base=(ApiPaginatedMixin, ApiResource)).get("/x").get_json()

    assert len(document["data"]) == 25
    assert document["meta"]["pagination"]["next"] == "http://localhost/x?offset=25&limit=25"


def test_pagination_can_be_turned_off(app: Flask):
    class Plain(ApiPaginatedMixin, ApiResource):
        enable_pagination = False

        def get(self) -> list[int]:
            return [1]

    Chassis(app)
    Api(app).add_resource(Plain, "/plain")

    document = app.test_client().get("/plain?limit=abc").get_json()

    assert (document["data"], list(document["meta"])) == ([1], ["operation_id"])


def test_page_size_and_level_come_from_the_environment_then_the_app_then_the_default(
    app: Flask, monkeypatch: pytest.MonkeyPatch
):
    app.config["CST_API_DEFAULT_PAGE_SIZE"] = 3
    app.config["CST_STREAM_LOG_LEVEL"] = "error"
    client = serve(app, lambda self: self.limit, base=(ApiPaginatedMixin, ApiResource))

    assert logging.getLogger().level == logging.ERROR
    assert client.get("/x").get_json()["data"] == 3
    monkeypatch.setenv("CST_API_DEFAULT_PAGE_SIZE", "5")
    assert client.get("/x").get_json()["data"] == 5
    problem_of(client.get("/x?limit=21"), 400)
    for bad in ("0", "-5", "many"):
        monkeypatch.setenv("CST_API_DEFAULT_PAGE_SIZE", bad)
        assert client.get("/x").get_json()["data"] == 25
    monkeypatch.setenv("CST_API_DEFAULT_PAGE_SIZE", "")
    assert client.get("/x").get_json()["data"] == 3


@pytest.mark.parametrize("query", ["offset=10", "offset=10&limit=25"])
def test_the_page_before_an_offset_below_the_limit_does_not_overlap(products: FlaskClient, query: str):
    link = products.get(f"/products?{query}").get_json()["meta"]["pagination"]["prev"]

    assert link == "http://localhost/products?offset=0&limit=10"
