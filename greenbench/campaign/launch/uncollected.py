"""What the process that forks workers imports first: it collects no garbage.

What it imports is never freed. Looking for garbage in it costs a second of the imports, and then a second in
each worker that does so, of which the kernel copies every page that it looks at (gc.freeze in Python's docs).
"""

import gc

gc.disable()
