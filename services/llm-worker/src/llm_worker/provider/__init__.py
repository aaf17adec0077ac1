"""The model provider: asking it, reading what it streams, and what its errors mean."""
