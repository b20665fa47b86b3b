"""The same fleet on a laptop and in tests: seed, reset, dev up and down."""
