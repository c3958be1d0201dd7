"""How fast the library is, beside others over the same tables: `python -m bench --help`."""
