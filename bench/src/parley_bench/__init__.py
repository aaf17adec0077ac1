"""Measures the token path on this machine, compared with its peers (``docs/benchmarks.md``)."""
