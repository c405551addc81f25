"""The Relumine server: stores what training runs send, finds dying ReLUs, tells people. It never imports torch."""
