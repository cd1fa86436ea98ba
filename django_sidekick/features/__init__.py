"""Add-ons: one deletable file each, reached only through `feature`."""
