"""The shared libraries that a program of this machine needs, for an image that has nothing else; used by `images`."""

import re
import subprocess
from pathlib import Path

from local_cluster.errors import LocalClusterError

_LINE = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_MISSING = re.compile(r"^\s*(\S+) => not found$", re.MULTILINE)


def needed_by(program: Path) -> tuple[Path, ...]:
    """Its libraries and its loader, as ldd finds them; none for a static program.

    Raises LocalClusterError where one is missing on this machine.
    """
    answer = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    if missing := _MISSING.findall(answer.stdout):
        raise LocalClusterError(f"{program} needs {', '.join(missing)}, which this machine does not have.")
    return tuple(Path(path) for path in _LINE.findall(answer.stdout))
