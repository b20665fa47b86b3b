"""Every reason why a move could fail, found before anything is touched."""
