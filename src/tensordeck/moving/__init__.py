"""Moving house: stores are copied, backed up, restored and compared, whatever they rest in.

One mechanism carries all three commands: `copying` makes a target database equal to one moment of
a source, writing only what differs. Run on an empty target it copies everything; run again, it
catches up, or takes up where it was cut off.
"""
