"""The bytes: arguments, payload, outcome. Pure: no Redis, no tables, no threads."""
