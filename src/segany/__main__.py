"""``python -m segany`` is the ``segany`` command."""

from __future__ import annotations

import sys

from segany.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
