"""The run folder and its HTML. :mod:`writer` makes a run; :mod:`html` renders it; the rest changes a finished one."""
