"""The token of any table, with columns of any type: the same in each session, another after each
change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import django
import psycopg
import pytest
from django.contrib.postgres import fields as pg
from django.db import connection, connections, models, transaction
from django.test.utils import isolate_apps
from psycopg.adapt import Loader

from cms_urlreload import token
from cms_urlreload.state import State, Token
from cms_urlreload.transports import PollingTransport
from cms_urlreload_pg import token_sql
from cms_urlreload_pg.transport import PostgresTransport

from .conftest import dsn

pytestmark = pytest.mark.django_db(transaction=True)

Given = Callable[..., None]


@pytest.fixture
def given(monkeypatch: Any) -> Given:
    """Have the token made of these tables too, whatever CONFIG_MODELS says."""

    def set_tables(*tables: type[models.Model]) -> None:
        for module in (token, token_sql):
            monkeypatch.setattr(module, "config_tables", lambda: list(tables))

    return set_tables


@contextlib.contextmanager
def table(model: type[models.Model], alias: str = "default") -> Iterator[None]:
    with connections[alias].schema_editor() as editor:
        editor.create_model(model)
    try:
        yield
    finally:
        with connections[alias].schema_editor() as editor:
            editor.delete_model(model)


def execute(*statements: str, alias: str = "default") -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


# --- PostgreSQL: each type, each setting ----------------------------------------------------------

#: Types, with one value, and another that is no other after rounding or in another style.
VALUES = {
    "timestamptz": ("'2024-07-01 10:00:00.123456+00'", "'2024-07-01 10:00:00.123457+00'"),
    "timestamp": ("'2024-07-01 10:00'", "'2024-07-01 10:01'"),
    "date": ("'2024-07-01'", "'2024-01-07'"),
    "timetz": ("'10:00+02'", "'10:00+03'"),
    "interval": ("'1 year 2 mons -3 days'", "'1 year 2 mons -4 days'"),
    "timestamptz[]": ("'{2024-07-01 10:00+00}'", "'{2024-07-01 10:00+01}'"),
    "date[]": ("'{2024-07-01}'", "'{2024-01-07}'"),
    "interval[]": ("'{1 day}'", "'{24 hours}'"),
    "tstzrange": ("'[2024-07-01 10:00+00,)'", "'[2024-07-01 10:00+01,)'"),
    "tstzrange[]": (
        "ARRAY[tstzrange('2024-07-01 10:00+00', NULL)]",
        "ARRAY[tstzrange('2024-07-01 10:00+01', NULL)]",
    ),
    "daterange": ("'[2024-07-01,2024-08-01)'", "'[2024-07-01,2024-08-02)'"),
    "numrange": ("'[1.0,2.0)'", "'[1.0,2.1)'"),
    "float8": ("0.1::float8 + 0.2::float8", "0.3"),
    "float4": ("16777216", "16777218"),
    "float8[]": ("ARRAY[0.1::float8 + 0.2::float8]", "'{0.3}'"),
    "numeric": ("1.10", "1.11"),
    "money": ("12.34::numeric::money", "12.35::numeric::money"),
    "bytea": (r"'\x00ff'", r"'\x00fe'"),
    "bytea[]": (r"ARRAY['\x00ff'::bytea]", r"ARRAY['\x00fe'::bytea]"),
    "text": ("'Grüße'", "'Grüsse'"),
    "text[]": ("'{a,NULL,b}'", "'{a,\"NULL\",b}'"),
    "json": ('\'{"a": "ü", "b": 1}\'', '\'{"a": "ü", "b": 2}\''),
    "jsonb": ('\'{"a": "ü", "b": 1}\'', '\'{"a": "ü", "b": 2}\''),
    "hstore": ("'a=>ü, b=>NULL'", "'a=>ü, b=>\"NULL\"'"),
    "citext": ("'Ab'", "'aB'"),
    "mood": ("'größer'", "'kleiner'"),
    "moment": ("'2024-07-01 10:00+00'", "'2024-07-01 10:00+01'"),
    "pair": ("ROW('2024-07-01 10:00+00', 0.1)", "ROW('2024-07-01 10:00+01', 0.1)"),
    "pair[]": ("ARRAY[ROW('2024-07-01 10:00+00', 0.1)::pair]", "ARRAY[]::pair[]"),
    "inet": ("'10.0.0.1/8'", "'10.0.0.1'"),
    "uuid": ("'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"),
    "tsvector": ("'größe:1'", "'größe:2'"),
    "bit(3)": ("B'101'", "B'100'"),
    "point": ("'(0.1,0.2)'", "'(0.1,0.3)'"),
    "regclass": ("'cms_page'::regclass", "'cms_pageurl'::regclass"),
}
TYPES = """
    CREATE EXTENSION IF NOT EXISTS hstore; CREATE EXTENSION IF NOT EXISTS citext;
    CREATE TYPE mood AS ENUM ('größer', 'kleiner'); CREATE DOMAIN moment AS timestamptz;
    CREATE TYPE pair AS (at timestamptz, ratio float4)
"""


class AnyField(models.Field):  # type: ignore[type-arg]
    """A column of a type that Django knows nothing of."""

    def __init__(self, kind: str = "text", **kwargs: Any) -> None:
        self.kind = kind
        super().__init__(**kwargs)

    def db_type(self, connection: Any) -> str:
        return self.kind


@isolate_apps("tests.demo.news")
def make_model(name: str, /, **fields: Any) -> Any:
    meta = type("Meta", (), {"app_label": "news"})
    return type(name, (models.Model,), {"__module__": __name__, "Meta": meta, **fields})


EveryType = make_model(
    "EveryType",
    **{f"c{number}": AnyField(kind, null=True) for number, kind in enumerate(VALUES)},
)


@pytest.fixture
def every_type(given: Given) -> Iterator[None]:
    execute(TYPES)
    try:
        with table(EveryType):
            firsts = ", ".join(first for first, _ in VALUES.values())
            columns = ", ".join(f"c{number}" for number in range(len(VALUES)))
            # Two of the same, one of nothing.
            execute(
                f"INSERT INTO news_everytype ({columns}) VALUES ({firsts}), ({firsts})",
                "INSERT INTO news_everytype DEFAULT VALUES",
            )
            given(EveryType)
            yield
    finally:
        execute("DROP TYPE mood, pair; DROP DOMAIN moment; DROP EXTENSION hstore, citext")


#: Statements after which a session shows values otherwise, or finds other functions.
SETTINGS = [
    "SET TimeZone = 'Asia/Kathmandu'",
    "SET DateStyle = 'German, DMY'",
    "SET IntervalStyle = 'iso_8601'",
    "SET extra_float_digits = -15",
    "SET bytea_output = 'escape'",
    "SET lc_monetary = 'C.UTF-8'",
    "SET xmlbinary = 'hex'",
    "SET client_encoding = 'LATIN1'",
    "SET standard_conforming_strings = off",
    "SET array_nulls = off",
    "SET quote_all_identifiers = on",
    "SET default_transaction_isolation = 'repeatable read'",
    "SET default_transaction_read_only = on",
    "SET jit_above_cost = 0",
    (
        "SELECT set_config(name, 'on', false) FROM pg_settings "
        "WHERE name IN ('debug_parallel_query', 'force_parallel_mode')"
    ),
    "SET enable_sort = off",
    "SET search_path = own, public, pg_catalog",
]
OWN = """
    CREATE SCHEMA own;
    CREATE FUNCTION own.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT ''own''::bytea';
    CREATE FUNCTION own.convert_to(text, name) RETURNS bytea LANGUAGE sql
        AS 'SELECT ''own''::bytea';
    CREATE FUNCTION own.encode(bytea, text) RETURNS text LANGUAGE sql AS 'SELECT ''own''';
    CREATE FUNCTION own.joined(bytea, bytea) RETURNS bytea LANGUAGE sql AS 'SELECT ''own''::bytea';
    CREATE OPERATOR own.|| (FUNCTION = own.joined, LEFTARG = bytea, RIGHTARG = bytea)
"""


def ask_as_listener(transport: PostgresTransport, *settings: str) -> Token:
    with psycopg.connect(dsn(), autocommit=True, client_encoding="UTF8") as own:
        heartbeat = transport._script(own).heartbeat(False)
        for setting in settings:
            own.execute(setting)
        row: Any = own.execute(heartbeat).fetchone()
        return Token(*row[1:])


@pytest.mark.usefixtures("every_type")
class TestEveryType:
    def test_token__is_that_of_a_request__in_any_session(self) -> None:
        transport = PostgresTransport(State())
        execute(OWN)
        try:
            expected = transport.read_token("default")
            found = {name: ask_as_listener(transport, name) for name in ("SELECT 1", *SETTINGS)}
            together = ask_as_listener(transport, *SETTINGS)
        finally:
            execute("DROP SCHEMA own CASCADE")
        assert {name for name, one in found.items() if one != expected} == set()
        assert together == expected

    @pytest.mark.parametrize("setting", SETTINGS[:-1])
    def test_token__is_that_of_the_listener__in_a_request(self, setting: str) -> None:
        transport = PostgresTransport(State())
        expected = ask_as_listener(transport)
        execute(setting)
        try:
            assert transport.read_token("default") == expected
            with transaction.atomic():
                assert transport.read_token("default") == expected
        finally:
            connection.close()

    @pytest.mark.parametrize("kind", VALUES)
    def test_token__changes__with_a_value(self, kind: str) -> None:
        transport = PostgresTransport(State())
        first, second = VALUES[kind]
        column = f"c{list(VALUES).index(kind)}"
        tokens = []
        for value in ("NULL", second, first):
            execute(f"UPDATE news_everytype SET {column} = {value}")
            tokens.append(transport.read_token("default"))
            assert transport.read_token("default") == tokens[-1]
        assert len(set(tokens)) == 3

    def test_token__is_stable__when_polled(self) -> None:
        transport = PollingTransport(State())
        expected = transport.read_token("default")
        assert transport.read_token("default") == expected
        execute("UPDATE news_everytype SET c0 = c0 + interval '1 microsecond'")
        assert transport.read_token("default") != expected


class Money:
    """A class without a repr of its value."""


class ToMoney(Loader):
    def load(self, data: Any) -> Any:
        return Money()


class ToMemory(Loader):
    def load(self, data: Any) -> Any:
        return memoryview(bytes(data))


Files = make_model("Files", data=models.BinaryField(), name=models.FileField())


def test_polled_token__does_not_depend_on_what_the_driver_makes(given: Given) -> None:
    """As psycopg2 does of bytea, and anybody may have it do."""
    given(Files)
    transport = PollingTransport(State())
    with table(Files):
        execute(r"INSERT INTO news_files (data, name) VALUES ('\x00ff', 'x')")
        try:
            connection.connection.adapters.register_loader("bytea", ToMemory)
            connection.connection.adapters.register_loader("varchar", ToMoney)
            tokens = [transport.read_token("default") for _ in range(3)]
            execute(r"UPDATE news_files SET data = '\x00fe'")
            tokens.append(transport.read_token("default"))
        finally:
            connection.close()
    assert len(set(tokens)) == 2


# --- tables of any kind ---------------------------------------------------------------------------


def newer(name: str) -> Any:
    """A field that older versions of Django do not have."""
    return getattr(models, name)


@pytest.fixture(params=[PollingTransport, PostgresTransport])
def transport(request: Any) -> Any:
    return request.param(State())


@pytest.mark.cms_version(django.VERSION >= (5, 2), "no CompositePrimaryKey")
def test_token__of_a_composite_primary_key(given: Given, transport: Any) -> None:
    model = make_model(
        "Pair",
        pk=newer("CompositePrimaryKey")("a", "b"),
        a=models.IntegerField(),
        b=models.IntegerField(),
    )
    given(model)
    with table(model):
        execute("INSERT INTO news_pair (a, b) VALUES (1, 2), (2, 1)")
        before = transport.read_token("default")
        assert transport.read_token("default") == before
        execute("UPDATE news_pair SET b = 3 WHERE a = 2")
        assert transport.read_token("default") != before


def test_token__of_a_view_without_a_key(given: Given, transport: Any) -> None:
    """Django takes the first column for the key, which is there many times."""

    kind, text = models.IntegerField(primary_key=True), models.TextField()
    given(make_model("Twice", kind=kind, text=text))
    rows = "SELECT 1 AS kind, 'text ' || i AS text FROM generate_series(1, 50) AS i"
    execute(f"CREATE TABLE rows_of_twice AS {rows} ORDER BY i")
    execute("CREATE VIEW news_twice AS SELECT * FROM rows_of_twice")
    try:
        before = transport.read_token("default")
        # The same rows in another order, as after a VACUUM FULL or on another server.
        execute("TRUNCATE rows_of_twice", f"INSERT INTO rows_of_twice {rows} ORDER BY i DESC")
        assert transport.read_token("default") == before
        execute("INSERT INTO rows_of_twice VALUES (1, 'text 1')")
        assert transport.read_token("default") != before
    finally:
        execute("DROP VIEW news_twice", "DROP TABLE rows_of_twice")


def test_token__of_a_text_key_without_an_order(given: Given, transport: Any) -> None:
    """Of keys that a collation takes for equal, any may come first."""
    execute("CREATE EXTENSION citext")
    key = AnyField("citext", primary_key=True)
    model = make_model("Word", word=key, number=models.IntegerField())
    given(model)
    try:
        with table(model):
            execute("ALTER TABLE news_word DROP CONSTRAINT news_word_pkey")
            tokens = set()
            for words in ("('a', 1), ('A', 2)", "('A', 2), ('a', 1)", "('A', 1), ('a', 2)"):
                execute("TRUNCATE news_word", f"INSERT INTO news_word VALUES {words}")
                tokens.add(transport.read_token("default"))
        assert len(tokens) == 2
    finally:
        execute("DROP EXTENSION citext")


def test_token__tells_tables_apart(given: Given, transport: Any) -> None:
    """The same row in the one, or in the other."""
    one, other = (make_model(name, text=models.TextField()) for name in ("One", "Other"))
    given(one, other)
    with table(one), table(other):
        execute("INSERT INTO news_one (id, text) VALUES (1, 'x')")
        before = transport.read_token("default")
        execute("DELETE FROM news_one", "INSERT INTO news_other (id, text) VALUES (1, 'x')")
        assert transport.read_token("default") != before


@pytest.mark.cms_version(django.VERSION >= (5, 0), "no GeneratedField")
def test_token__of_a_generated_column__and_of_ranges(given: Given, transport: Any) -> None:
    model = make_model(
        "Slot",
        open=pg.DateTimeRangeField(),
        dates=pg.ArrayField(models.DateTimeField()),
        length=newer("GeneratedField")(
            expression=models.Func(models.F("dates"), function="cardinality"),
            output_field=models.IntegerField(),
            db_persist=True,
        ),
    )
    given(model)
    with table(model):
        execute("INSERT INTO news_slot (open, dates) VALUES ('[2024-01-01,)', '{2024-01-01}')")
        before = transport.read_token("default")
        assert transport.read_token("default") == before
        execute("UPDATE news_slot SET dates = '{2024-01-02}'")
        assert transport.read_token("default") != before


# --- other databases ------------------------------------------------------------------------------


class SecretField(models.BinaryField):  # type: ignore[type-arg]
    """Returns an object, and never the same."""

    def from_db_value(self, value: Any, *args: Any) -> Any:
        return Money()


@pytest.mark.django_db(transaction=True, databases=["default", "lite"])
def test_sqlite_token__of_any_value(given: Given) -> None:
    model = make_model(
        "Secret",
        secret=SecretField(),
        data=models.JSONField(null=True),
        text=models.TextField(null=True),
        ratio=models.FloatField(null=True),
        at=models.DateTimeField(null=True),
    )
    given(model)
    transport = PollingTransport(State())
    with table(model, "lite"):
        execute("INSERT INTO news_secret (secret) VALUES (x'00ff')", alias="lite")
        tokens = []
        for values in (
            "secret = x'00fe'",
            'data = \'{"b": 1, "a": 2}\'',
            "ratio = 0.1 + 0.2",
            "ratio = 0.3",
            "text = 'a' || char(0) || 'b'",
            "text = 'a' || char(0) || 'c'",
            "text = CAST('a' AS BLOB)",
            "text = 'a'",
            "text = NULL",
            "at = '2024-01-01 10:00:00'",
            "at = NULL",
        ):
            execute(f"UPDATE news_secret SET {values}", alias="lite")
            tokens.append(transport.read_token("lite"))
            assert transport.read_token("lite") == tokens[-1]
    # Without a text again; and without a time again.
    assert len(set(tokens)) == len(tokens) - 2
