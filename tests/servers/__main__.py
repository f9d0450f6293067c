"""`python tests/servers`: a server from the shell. `--help` says how."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # This folder is not a place of modules, but a package: its parent is.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from servers.command import main

    sys.exit(main(sys.argv[1:]))
