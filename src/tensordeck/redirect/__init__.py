"""What turns a cloud program, unchanged, to our server: the environment of its process."""
