"""The audit log: a chain of sealed records, cut now and then, checked and carried away."""
