"""The child process of a job: `python -m app.worker job.json`. SIGTERM stops it at its next event, resumable."""

import json
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

# Two threading libraries live in this process; where one spins while it waits, the other starves.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main(path: Path) -> int:
    request = json.loads(path.read_text())
    starter = os.getppid()
    if request.get("nice"):
        os.nice(request["nice"])

    from app.kinds import KINDS
    from data.allocator import keep_freed_memory
    from data.errors import Cancelled, InputError, OutputError

    keep_freed_memory()
    stop = [False]
    signal.signal(signal.SIGTERM, lambda *_: stop.__setitem__(0, True))
    signal.signal(signal.SIGINT, lambda *_: stop.__setitem__(0, True))
    try:
        work: Generator[dict[str, Any], None, dict[str, Any]] = KINDS[request["kind"]](request["arguments"])
        while True:
            _say(event=next(work))
            if stop[0] or (not request.get("survives") and os.getppid() != starter):
                work.close()  # runs every `finally`: checkpoints are written, children ended
                return 130
    except StopIteration as end:
        _say(result=end.value)
        return 0
    except Cancelled:
        return 130
    except (InputError, OutputError) as error:
        _say(error=str(error))
        return 2
    except MemoryError:
        _say(error="The memory does not suffice for this. Choose a lower quality or fewer photos, or close other programs.")
        return 2
    except OSError as error:
        if error.errno not in (28, 30, 13):  # disk full, read-only, no permission
            raise
        _say(error=f"'{error.filename or 'The output folder'}' cannot be written ({error.strerror}). Free space or choose another folder.")
        return 2


def _say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
