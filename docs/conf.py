"""Sphinx configuration."""

project = "django-sidekick"
author = "the django-sidekick contributors"
copyright = "2026, the django-sidekick contributors"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
