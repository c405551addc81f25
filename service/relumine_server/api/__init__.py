"""The HTTP border: decode, validate, call a use case, encode. No SQL, no decisions."""
