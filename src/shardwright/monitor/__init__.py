"""One true picture of the fleet, for people and for machines. Reads only."""
