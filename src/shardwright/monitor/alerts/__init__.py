"""Says what is wrong, once, to whoever is to know."""
