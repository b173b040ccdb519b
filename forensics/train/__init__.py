"""Training: one loop, one configuration file a model.

``loop`` runs any model (AdamW, a schedule, checkpoints, a state to go on from, loss curves); ``config`` reads the TOML
files in ``configs/``; ``corpus`` reads the pictures; ``tokenizer``, ``vqgan``, ``transformer`` and ``clip`` say what is
learnt from them.
"""
