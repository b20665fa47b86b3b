"""What a worker process costs before it does anything."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.new_interpreter
def test_a_worker_does_not_load_what_reads_the_configuration() -> None:
    """It is given values: pydantic would be a third of its memory and a quarter of its start."""
    program = "import sys, shardwright.runs.worker, shardwright.migration.apply; sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
