"""Erasure of users and the outbox of the audit."""
