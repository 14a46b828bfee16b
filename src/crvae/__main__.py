"""`python -m crvae` and `torchrun -m crvae`: the same as the `crvae` command."""

import sys

from crvae.cli import main

sys.exit(main())
