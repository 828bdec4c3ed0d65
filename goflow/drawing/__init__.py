"""A flow laid out and drawn: what the terminal's views and the dashboard's pages share. Pure; no store."""
