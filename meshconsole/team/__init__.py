"""Who belongs: the roster (a signed DAG), roles, epochs, invites, sealed notes and files. Pure."""
