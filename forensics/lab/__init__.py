"""The memorisation laboratory: what an autoregressive model says of given items, as statistics. Pure: arrays in."""
