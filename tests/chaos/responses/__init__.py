"""Responses in the background, read by OpenAI's SDK while every part is killed: none loses or doubles anything."""
