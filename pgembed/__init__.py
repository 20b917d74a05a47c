"""pgembed: text and rows of PostgreSQL in one vector space, inside the database."""

__version__ = "0.1.0"
