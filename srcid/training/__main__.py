"""One of several processes that train together: ``torchrun ... -m srcid.training FOLDER`` (docs/distributed.md)."""

import os
import signal
import sys
import threading
from pathlib import Path

stop = threading.Event()
for number in (signal.SIGINT, signal.SIGTERM):  # at once: what follows takes seconds to import
    signal.signal(number, lambda *_: stop.set())
for output in sys.argv[2:]:  # where nobody looks at what is printed
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1), os.dup2(file, 2)

from torch.distributed.elastic.multiprocessing.errors import record  # noqa: E402

from srcid.training.loop import take_part  # noqa: E402

if __name__ == "__main__":
    record(take_part)(Path(sys.argv[1]), stop)
