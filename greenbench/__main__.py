"""``python -m greenbench`` is ``greenbench``."""

from greenbench.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
