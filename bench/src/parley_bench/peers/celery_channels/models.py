"""The stored message."""
# mypy: ignore-errors

from django.db import models


class Message(models.Model):
    content = models.TextField(default="")
    created_at = models.DateTimeField(auto_now_add=True)
