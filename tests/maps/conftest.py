"""Code tables for the tests of this wing."""

from tests.code_tables import store, tables, write_table

__all__ = ["store", "tables", "write_table"]
