//! The guide quotes this crate's sources: what a reader copies is what these tests run.

use std::path::Path;

#[test]
fn every_block_of_the_guide_is_in_the_file_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = std::fs::read_to_string(root.join("docs/guide-patterns.md")).unwrap();
    let mut blocks = 0;
    for block in guide.split("```rust\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let (first, code) = block.split_once('\n').unwrap();
        let path = first.strip_prefix("// ").expect("a block begins with the file that it quotes");
        let source = std::fs::read_to_string(root.join(path)).unwrap();
        assert!(source.contains(code.trim_end()), "{path} does not have:\n{code}");
        blocks += 1;
    }
    assert!(blocks >= 5, "{blocks}");
}
