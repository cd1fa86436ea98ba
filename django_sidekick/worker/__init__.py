"""The running server: threads and processes. It knows no business rules and no history."""
