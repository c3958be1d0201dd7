"""The voice: every operation over HTTP, each answer held against the document."""
