"""`python -m meshconsole` is the `meshconsole` command."""

from meshconsole.cli.main import main

raise SystemExit(main())
