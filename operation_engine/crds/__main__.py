"""`python -m operation_engine.crds [FOLDER]` writes the CRDs, by default into deploy/crds."""

import sys
from pathlib import Path

from operation_engine.crds.definitions import files

FOLDER = Path(__file__).parents[2] / "deploy" / "crds"


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main(sys.argv[1:])
