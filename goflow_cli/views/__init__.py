"""How flows and runs look: one DAG layout with several painters, a live view, plain lines."""
