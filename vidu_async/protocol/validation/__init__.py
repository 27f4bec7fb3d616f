"""Rules that compare a request with the catalog, each a function of the given fields alone; `verdicts` applies them."""
