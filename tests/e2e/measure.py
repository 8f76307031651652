"""measure.py MEBIBYTES COMMAND...: runs it with at most so much memory that is no mapped file (0: any), and adds a last line to its
output: its exit status and seconds of CPU."""

import os
import resource
import subprocess
import sys

limit = int(sys.argv[1]) << 20 or resource.RLIM_INFINITY
process = subprocess.Popen(sys.argv[2:], stderr=subprocess.STDOUT,
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)))
_, status, usage = os.wait4(process.pid, 0)
print(f"\n{os.waitstatus_to_exitcode(status)} {usage.ru_utime + usage.ru_stime:.3f}")
