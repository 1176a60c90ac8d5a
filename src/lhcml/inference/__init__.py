"""pyhf workspaces, fits and limits."""
