"""What a job is. The way out (enqueue) and the way in (execute) face each other."""
