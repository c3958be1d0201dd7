"""Verbs: what a library does. A verb takes a session, loaded rows and the current moment; it flushes, never commits."""
