"""Carriers: the formats in which records travel in and out; they know no database and no HTTP."""
