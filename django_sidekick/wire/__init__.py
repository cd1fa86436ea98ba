"""The bytes: arguments, payload, outcome, event.

No Redis and no threads; of tables only the rows that are arguments.
"""
