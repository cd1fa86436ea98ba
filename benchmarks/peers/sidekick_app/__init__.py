"""The smallest Django project that can run the harness' jobs."""
