"""Layouts of public files, a module each, chosen by name; `open_table` of a module yields the events of a file."""
