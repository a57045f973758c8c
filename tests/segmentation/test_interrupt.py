"""A long kernel leaves the interpreter free, and Ctrl-C stops it."""

import subprocess
import sys

SCRIPT = """
import os, signal, threading, time
import numpy as np
import neuropil

codes = np.random.default_rng(0).integers(0, 255, (3, 48, 256, 256), np.uint8)
each_voxel = np.arange(1, codes[0].size + 1, dtype=np.uint32).reshape(codes[0].shape)
ticks, sent = [], []

def watch():
    while not sent or time.monotonic() < sent[0] + 0.2:
        ticks.append(1)
        time.sleep(0.01)
        if len(ticks) == 20:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=watch, daemon=True).start()
try:
    while True:
        neuropil.agglomerate(codes, each_voxel)
except KeyboardInterrupt:
    print(len(ticks) >= 20, time.monotonic() - sent[0])
"""


def test_interrupt_stops_a_kernel():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=100)
    free, seconds = done.stdout.split()
    assert free == "True"
    assert float(seconds) < 5  # a tenth of this on an idle machine
