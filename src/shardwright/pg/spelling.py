"""The settings under which any two servers write a value as the same text, and read it alike."""

from __future__ import annotations

from typing import Final

SPELLING: Final = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
}
# For whoever reads whole tables. Nobody waits behind us for one that a migration holds; rows that a policy hides are an
# error, since what is left out would pass for what is not there.
WHOLE_TABLES: Final = {**SPELLING, "lock_timeout": "2s", "row_security": "off"}
