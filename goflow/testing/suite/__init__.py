"""The conformance suite, one role a module; `goflow.testing.conformance` puts them together."""
