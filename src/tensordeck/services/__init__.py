"""What the API does: a request in, a reply out. No transport, no SQL."""
