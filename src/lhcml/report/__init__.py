"""Displays, summary, cost tables and the report archive."""
