"""Every reason why a change could fail, found before anything is touched."""
