"""A small shop that uses django-sidekick."""
