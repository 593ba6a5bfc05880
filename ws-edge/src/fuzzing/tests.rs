//! The committed corpus, and many small changes of it, through what the fuzzers run.

use std::path::Path;

use proptest::prelude::*;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "{}: a corpus of {}", folder.display(), paths.len());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// One of the files, with pieces of others put in, cut out or overwritten.
fn changed(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let files = corpus(target);
    let step = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..24, 0..4_u8);
    let file = prop::sample::select(files.clone());
    (file, prop::collection::vec(step, 0..6)).prop_map(move |(mut data, steps)| {
        for (at, from, length, kind) in steps {
            let other = &files[from.index(files.len())];
            let at = at.index(data.len() + 1);
            let end = (at + length).min(data.len());
            let piece = &other[..length.min(other.len())];
            match kind {
                0 => drop(data.drain(at..end)),
                1 => drop(data.splice(at..at, piece.iter().copied())),
                2 => drop(data.splice(at..end, piece.iter().copied())),
                _ => data[at..end].iter_mut().for_each(|byte| *byte = byte.wrapping_add(0x7f)),
            }
        }
        data
    })
}

#[test]
fn the_corpus_is_read_without_a_panic() {
    corpus("json").iter().for_each(|frame| super::decode_json(frame));
    corpus("protobuf").iter().for_each(|frame| super::decode_protobuf(frame));
}

#[test]
fn the_scripts_play() {
    let messages: usize = corpus("session").iter().map(|script| super::session::play(script)).sum();
    // Scripts that nothing comes of would check nothing.
    assert!(messages >= 100, "{messages}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn changed_text_is_read_without_a_panic(frame in changed("json")) {
        super::decode_json(&frame);
    }

    #[test]
    fn changed_bytes_are_read_without_a_panic(frame in changed("protobuf")) {
        super::decode_protobuf(&frame);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn changed_scripts_play(script in changed("session")) {
        super::session(&script);
    }
}
