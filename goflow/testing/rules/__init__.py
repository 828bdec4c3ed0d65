"""The rules of random histories, by what they are about; `goflow.testing.machine` puts them together."""
