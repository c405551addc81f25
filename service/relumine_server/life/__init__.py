"""The life of an alert: PURE. What follows from what, when it is told, what keeps it quiet. Rows are elsewhere."""
