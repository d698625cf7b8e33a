"""Event files to time series and back: reading, uploading, exporting; the wire form of writes."""
