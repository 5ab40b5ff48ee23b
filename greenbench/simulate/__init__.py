"""A made-up lab: what is true is known, and the code that measures and judges is the real one."""
