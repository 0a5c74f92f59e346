"""Run one command and print what it took as JSON: python -I -S timed.py LIMIT LOG COMMAND …

A small process of its own: what a child is said to have had resident begins with what its parent had.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

limit, log, *command = sys.argv[1:]
with open(log, "wb") as out:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
    timer = threading.Timer(float(limit), os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    timer.cancel()
print(json.dumps({
    "code": os.waitstatus_to_exitcode(status), "seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime,
    "peak": usage.ru_maxrss * 1024,
}))  # fmt: skip
