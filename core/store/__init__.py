"""All SQL. Functions take a connection first, never commit and never decide."""
