"""Celery + Channels + Redis, as tutorials do it. Run from the folder above, with what ``requirements.txt`` names."""
