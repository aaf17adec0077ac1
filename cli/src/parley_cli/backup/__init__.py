"""Backup and restore of everything durable, in one file."""
