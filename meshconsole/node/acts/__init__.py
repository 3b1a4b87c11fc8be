"""What consoles and the command line ask of a node: one file for each subject, as in `control`."""
