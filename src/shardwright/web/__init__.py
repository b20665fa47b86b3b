"""The dashboard: the picture of the fleet as pages, JSON and metrics, and the buttons beside it (`serve.serve`)."""
