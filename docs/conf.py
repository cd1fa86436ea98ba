"""Sphinx configuration."""

project = "django-sidekick"
author = "The django-sidekick authors"
copyright = "2026, the django-sidekick authors"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
