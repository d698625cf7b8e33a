#!/bin/sh
# Compiles the lock files: tools/lock.sh path/to/uv
set -eu
uv="$1"
compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --no-annotate --no-emit-index-url \
        --custom-compile-command "make lock" "$@"
}
compile pyproject.toml --output-file requirements/core.txt
for group in demo test test-all; do
    compile pyproject.toml --group "$group" --constraint requirements/core.txt \
        --no-emit-package torch --output-file "requirements/$group.txt"
done
