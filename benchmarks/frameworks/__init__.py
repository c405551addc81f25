"""Other people's training code, watched: whether Relumine changes it, and whether it sees every ReLU of it."""
