"""Our own web pages: instances, experiments and runs, and signing in."""
