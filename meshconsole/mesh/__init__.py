"""Finding peers, linking up by whatever works, and staying in sync."""
