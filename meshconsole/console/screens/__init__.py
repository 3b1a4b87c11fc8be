"""The screens: the desk with its panes, and the dialogs above it."""
