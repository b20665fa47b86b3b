"""Which shape a table has on the other side: how each side shows the tables of the other, and every check of it."""
