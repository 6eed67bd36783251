"""`python -m dianoia` is `dianoia`."""

import sys

from dianoia.cli import main

sys.exit(main())
