"""Marks of stock agencies: found, named, discovered in a batch."""
