"""Measures the token path on this machine, beside its peers (``docs/benchmarks.md``)."""
