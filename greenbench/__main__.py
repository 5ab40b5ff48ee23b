"""``python -m greenbench`` is ``greenbench``."""

from greenbench.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
