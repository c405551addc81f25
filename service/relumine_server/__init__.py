"""The Relumine server: stores uploads of training runs, detects dying ReLUs, and sends alerts. Never imports torch."""
