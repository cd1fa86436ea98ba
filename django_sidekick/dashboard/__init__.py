"""The live pages: what Redis holds now, and the acts on it. Under the admin's own URLs, permissions and look."""
