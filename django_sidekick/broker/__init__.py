"""The Redis room: the only one that imports `redis`. Bytes in, bytes out; no job classes, no threads."""
