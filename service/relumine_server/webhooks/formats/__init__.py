"""The formats of a notification, one module each. Pure: news in, text out."""
