"""The dashboard: static files for the browser, which is an ordinary client of the API."""
