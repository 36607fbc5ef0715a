"""`python -m glia` is `glia`."""

from glia.api.cli import main

main()
