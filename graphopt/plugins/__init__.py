"""How what others have written enters: names that distributions offer, and which of them may. Imports nothing slow.

Entry points: `entry_points` · the user's allow and deny lists: `allowed` · commands: `commands` · a new one: `scaffold`
"""
