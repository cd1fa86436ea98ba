"""The template library of the live pages."""
