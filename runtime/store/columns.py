"""Column types and expressions that mean the same on SQLite and PostgreSQL."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Dialect, Integer, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from runtime.money.amounts import PLACES, dollars
from runtime.store.codec import plain_text, to_text

Serial = BigInteger().with_variant(Integer, "sqlite")
"""A primary key that counts by itself (SQLite counts only columns that are exactly INTEGER)."""


class PlainText(TypeDecorator[str]):
    """Text a user wrote, outside JSON. PostgreSQL takes neither U+0000 nor lone surrogates, so both become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else plain_text(value)


class Usd(TypeDecorator[Decimal]):
    """Dollars, exactly: the integer of 10^-12 of them, up to 9.2 million. SQLite has no decimals."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else int(dollars(value).scaleb(PLACES))

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - as above
        return None if value is None else Decimal(value).scaleb(-PLACES)


class Ids(TypeDecorator[Sequence[str]]):
    """A list of ids as one bound parameter: an array on PostgreSQL, a JSON text on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(Text()) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        return list(value or ()) if dialect.name == "postgresql" else to_text(list(value or ()))


class _AnyOf(FunctionElement[bool]):
    """`column` equals one of the ids: one SQL text whatever their number, so that it is prepared once.

    It has no type on purpose: of a Boolean, SQLAlchemy makes `… = 1` on SQLite, which no index serves.
    """

    name = "any_of"
    inherit_cache = True


@compiles(_AnyOf)
def _any_of(element: _AnyOf, compiler: SQLCompiler, **kw: Any) -> str:
    column, ids = element.clauses
    return f"{compiler.process(column, **kw)} = ANY({compiler.process(ids, **kw)})"


@compiles(_AnyOf, "sqlite")
def _any_of_sqlite(element: _AnyOf, compiler: SQLCompiler, **kw: Any) -> str:
    column, ids = element.clauses
    return f"{compiler.process(column, **kw)} IN (SELECT value FROM json_each({compiler.process(ids, **kw)}))"  # noqa: S608 - compiled parts, values stay bound


def any_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """`column` is one of the ids bound as parameter `name`."""
    return _AnyOf(column, bindparam(name, type_=Ids()))
