"""What all tables are part of."""

from sqlalchemy import Index, MetaData, text

_NAMES = {"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
everything = MetaData(naming_convention=_NAMES)


def partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows `where` names: SQLite and PostgreSQL both have them."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))
