"""Several worker processes behind one port of one host (`tensordeck serve --workers N`)."""
