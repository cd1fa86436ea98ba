"""The mirror: events of the stream become rows, and old rows are deleted. Optional at run time, never waited for."""
