"""Pictures and timings of the dashboard in a real browser, with runs to show."""
