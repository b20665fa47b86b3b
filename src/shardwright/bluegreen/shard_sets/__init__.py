"""Green databases are made, tenants spread over them, sequences kept apart; blue ones archived and dropped."""
