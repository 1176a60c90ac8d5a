"""Network families, one module each; see docs/taggers.md for how to add one."""
