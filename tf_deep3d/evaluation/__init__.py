"""How good it is: cases, methods, measures, reports."""
