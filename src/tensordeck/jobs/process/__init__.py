"""Runs jobs as processes of this host, in cached virtual environments.

`executor` is what the controller calls. It resolves each replica's image to an environment
(`images`, `interpreters`), writes everything into the attempt's folder (`attempt`) and detaches
one `supervisor`, which outlives the server: it builds or finds the environment (`environments`,
`build`, `user_packages`), gives each replica a thin environment of its own on top (`overlay`),
starts it (`replica`), captures what it prints (`output`), holds it to its limits (`limits`) and
lets nothing outlive it (`process_tree`).

This is no sandbox: a job runs as the server's own user.
"""
