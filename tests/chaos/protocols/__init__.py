"""Answers that are read over the open protocols while every part is killed: none loses or doubles anything."""
