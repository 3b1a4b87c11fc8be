"""What the console draws with: one list, one sheet of lines, a meter, a sparkline, one entry line."""
