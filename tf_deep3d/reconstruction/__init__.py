"""From photos, albums and clips to folders of results."""
