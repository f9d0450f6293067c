"""Storage in SQL databases, through SQLAlchemy: SQLite, PostgreSQL, MariaDB and MySQL."""
