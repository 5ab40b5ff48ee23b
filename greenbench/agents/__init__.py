"""The tools of an agent, over the Model Context Protocol: what the commands do, answered in small JSON."""
