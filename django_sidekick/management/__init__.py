"""The composition root: commands put the parts together and run them."""
