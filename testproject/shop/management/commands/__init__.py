"""The shop's commands, one a file."""
