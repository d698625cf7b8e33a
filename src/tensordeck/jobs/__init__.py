"""Training jobs: claimed, prepared, run, watched and brought to an end."""
