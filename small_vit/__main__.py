"""`python -m small_vit COMMAND` is `small-vit COMMAND`."""

from small_vit.cli import main

main()
