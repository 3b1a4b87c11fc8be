"""Words that every room shares: errors, verdicts, events, configuration, limits, status, safe text. Pure."""
