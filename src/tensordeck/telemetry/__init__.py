"""What a server tells about itself: counts and times, request ids, logs, traces.

The bottom floor: whatever counts something may import this, and this imports nothing of ours.
"""
