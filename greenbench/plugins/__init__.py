"""What can be had by name, here and in installed plug-ins: read from sources, imported when used."""

from __future__ import annotations

from greenbench.plugins.check import answerable
from greenbench.plugins.names import ROOMS, Named, Room, conf_folders, named

__all__ = ["ROOMS", "Named", "Room", "answerable", "conf_folders", "named"]
