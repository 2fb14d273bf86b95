"""The page in the browser: `python -m export web` makes a folder of static files of a bundle. `page/` is its source."""
