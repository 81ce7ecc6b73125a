# What a change must pass before it lands, besides the tests.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
    cargo deny check bans licenses sources

# The tests, with Rust alone installed.
test:
    cargo test --workspace --locked

# Real servers for the tests, for example: just servers install minio
servers *ARGUMENTS:
    cargo run --quiet -p test-servers -- {{ARGUMENTS}}

# Half a minute that teaches the tool.
demo:
    cargo run -p ruvector-snapshot-cli -- demo

# The program and its manual pages, for this user.
install:
    cargo install --locked --path crates/ruvector-snapshot-cli
    "${CARGO_HOME:-$HOME/.cargo}/bin/ruvector-snapshot" man "${XDG_DATA_HOME:-$HOME/.local/share}/man/man1"

# The picture in the README, from a run of the demo.
picture:
    cargo build -p ruvector-snapshot-cli
    python3 docs/terminal_svg.py docs/demo.svg "${CARGO_TARGET_DIR:-target}/debug/ruvector-snapshot" demo
