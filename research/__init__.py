"""The evidence behind the detector: a corpus of trainings, scores against the ground truth, and fits of its constants.

``python -m research`` lists the commands; README.md says which number of the docs each of them prints.
"""
