"""How the agent gets onto a board, is upgraded, given another identity, and taken off again.

Until an environment exists, this runs from the agent's wheel under the board's own Python: standard library only.
"""
