"""The verbs, without HTTP."""
