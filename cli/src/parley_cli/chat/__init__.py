"""Parley in a terminal, through the public interfaces."""
