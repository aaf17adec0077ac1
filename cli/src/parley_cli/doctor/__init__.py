"""Checks of an installation: findings, each with its fix."""
