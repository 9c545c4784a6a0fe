"""``usage.py RESULT COMMAND…``: run a command and write its wall seconds, CPU seconds and peak memory as JSON.

A process of its own and a small one: the kernel counts the memory of whoever starts a process into that process's peak.
"""

import json
import os
import sys
import time

began = time.monotonic()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
wall = time.monotonic() - began
with open(sys.argv[1], "w") as out:  # noqa: PTH123 - no imports that this process need not have
    json.dump({"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}, out)
sys.exit(os.waitstatus_to_exitcode(status))
